"""Reads files safely, and writes files atomically and never through links."""
