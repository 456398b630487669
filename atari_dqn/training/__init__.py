"""The training loop, the learner beside it, and what a run writes as it goes."""
