"""The sagas that are shipped to be looked at: see `sagas`, and the same in YAML beside it."""
