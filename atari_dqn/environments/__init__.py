"""Games stepped side by side, and the preprocessing of their frames."""
