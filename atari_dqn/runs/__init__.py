"""Run directories: checkpoints, learning curves, random states, locks, and stop signals."""
