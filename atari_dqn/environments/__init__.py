"""Environments that step several games in parallel, and the preprocessing of frames."""
