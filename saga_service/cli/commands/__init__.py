"""TODO: what commands holds."""
