"""Many runs together: tables with intervals, learning curves, published scores."""
