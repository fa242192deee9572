"""TODO: what expressions holds."""
