"""Sagas and workers to try the service with. The sagas are in `sagas`, and in YAML beside it."""
