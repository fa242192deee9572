"""A connection to Redis for one command, and the failures of it in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.cli.access.effective_settings import advice_on_address
from saga_service.settings import Settings
from saga_service.streams.connection import RedisClient, connect
from saga_service.streams.errors import translated
from saga_service.wire.transport import AccessDenied, TransportError, TransportUnavailable


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[RedisClient]:
    """Open a client that repeats nothing by itself. Raises Failure where the server cannot be used."""
    with redis_errors_in_words(settings):
        client = connect(settings.redis_url.get_secret_value(), connections_max=1)
        try:
            yield client
        finally:
            await client.aclose()


@contextmanager
def redis_errors_in_words(settings: Settings) -> Iterator[None]:
    """Turn what the client raises into Failure, with the address and what to check."""
    where = f"Redis at {settings.redis_url}"
    try:
        with translated():
            yield
    except AccessDenied as error:
        raise Failure(
            f"{where} refuses: {error}",
            advice_on_address(settings, "SAGA_REDIS_URL", "check user and password in SAGA_REDIS_URL"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except TransportUnavailable as error:
        raise Failure(
            f"{where} cannot be reached: {error}",
            advice_on_address(settings, "SAGA_REDIS_URL", "check SAGA_REDIS_URL and that the server runs"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except TransportError as error:
        raise Failure(f"{where} refuses: {error}", kind=FailureKind.UNREACHABLE) from None
