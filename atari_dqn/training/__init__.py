"""The training loop, the learner that runs in parallel with it, and the logs of a run."""
