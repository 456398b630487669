"""Plays episodes under an evaluation protocol, and computes statistics of their scores."""
