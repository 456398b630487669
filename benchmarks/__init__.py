"""Measurements whose results are in docs/."""
