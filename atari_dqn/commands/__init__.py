"""The commands: what each takes, and what it prints and returns."""
