"""Every setting with type, bounds, unit and source; where its value comes from."""
