"""TODO: what sources holds."""
