"""Who may ask what: the callers of the HTTP API, their roles, and how they are known."""
