"""The Q-network: a torso that sees, and a head that values."""
