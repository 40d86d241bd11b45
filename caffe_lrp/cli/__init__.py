"""The command line: options in, exit code out; the only package that prints."""
