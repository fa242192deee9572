"""The oldest Redis that the service works with, 6.2, out of a wheel."""

from __future__ import annotations

from pathlib import Path

from saga_service.local.servers.programs import TEST_REDIS_PACKAGE, package_folder


def floor_redis_server() -> Path:
    """The server's program. Raises ModuleNotFoundError where there is no wheel of it (see pyproject.toml)."""
    return package_folder(TEST_REDIS_PACKAGE) / "bin" / "redis-server"
