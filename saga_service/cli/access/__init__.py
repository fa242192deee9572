"""TODO: what access holds."""
