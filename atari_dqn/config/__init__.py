"""The settings: their types, bounds, units and sources, and how their values are resolved."""
