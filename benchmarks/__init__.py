"""Measurements whose figures stand in docs/."""
