"""The page for reviewing gameplay: curves, recordings and results."""
