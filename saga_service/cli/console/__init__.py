"""TODO: what console holds."""
