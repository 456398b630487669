"""Environment ids, Gymnasium environments, and published scores."""
