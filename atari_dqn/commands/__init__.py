"""The commands: the arguments of each, what it prints, and its exit code."""
