"""Many runs on Ray: all of a grid, or a search for the best."""
