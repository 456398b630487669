"""Run directories: checkpoints, learning curves, random states, and signals that end a run."""
