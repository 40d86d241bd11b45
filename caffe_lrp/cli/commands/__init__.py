"""What the command line can do, a module each. They are imported when they are asked for."""
