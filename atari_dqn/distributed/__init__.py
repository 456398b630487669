"""Distributed training (Ape-X): actors in other processes, on Ray."""
