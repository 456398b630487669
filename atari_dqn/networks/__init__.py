"""The Q-network, which consists of a torso and a head."""
