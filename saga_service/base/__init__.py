"""TODO: what base holds."""
