"""Whole episodes played under a protocol, and their statistics."""
