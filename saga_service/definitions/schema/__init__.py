"""TODO: what schema holds."""
