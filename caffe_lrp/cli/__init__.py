"""The command line: options in, exit code out; the only room that prints."""
