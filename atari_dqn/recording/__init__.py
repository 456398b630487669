"""Records episodes as GIF, MP4 and JSON, with the agent's Q-values drawn on request."""
