"""The agent: acting, the TD target, the loss and the gradient step."""
