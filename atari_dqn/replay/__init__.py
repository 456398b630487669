"""The replay memory: rings of single frames, sampled uniformly or by priority."""
