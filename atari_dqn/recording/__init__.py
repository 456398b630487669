"""Episodes as GIF, MP4 and JSON, and pictures of what the agent expects."""
