"""From an environment id to its game, what Gymnasium knows of it, and published scores."""
