"""Many runs on Ray: every combination of a grid, or a search for the best settings."""
