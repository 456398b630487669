"""The agent: acting, the target, the loss and the gradient step."""
