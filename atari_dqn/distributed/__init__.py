"""Training with actors in other processes (Ape-X), on Ray."""
