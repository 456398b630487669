"""Whole jobs for commands and sweeps: train a run, evaluate a checkpoint, release an agent."""
