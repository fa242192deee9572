"""Errors of Redis in words: with the address, and what to check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.postgres_errors import Advise, as_it_is
from saga_service.settings import Settings
from saga_service.streams.errors import translated
from saga_service.wire.transport import AccessDenied, TransportError, TransportUnavailable


@contextmanager
def redis_errors_in_words(settings: Settings, advise: Advise = as_it_is) -> Iterator[None]:
    """Turn what the client raises into Failure, with the address and what to check."""
    where = f"Redis at {settings.redis_url}"
    try:
        with translated():
            yield
    except AccessDenied as error:
        raise Failure(
            f"{where} refuses: {error}",
            advise("SAGA_REDIS_URL", "check user and password in SAGA_REDIS_URL"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except TransportUnavailable as error:
        raise Failure(
            f"{where} cannot be reached: {error}",
            advise("SAGA_REDIS_URL", "check SAGA_REDIS_URL and that the server runs"),
            kind=FailureKind.UNREACHABLE,
        ) from None
    except TransportError as error:
        raise Failure(f"{where} refuses: {error}", kind=FailureKind.UNREACHABLE) from None
