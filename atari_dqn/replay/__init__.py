"""The replay memory: a ring of single frames, sampled uniformly or by priority."""
