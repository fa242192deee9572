"""Redis' errors, classified in one place: the environment's (try again), a loss (make good), a refusal that lasts.

Everything that this folder offers raises the transport's errors alone (`wire/transport.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions
from redis.exceptions import RedisError, ResponseError

from saga_service.wire.transport import (
    AccessDenied,
    RightMissing,
    StreamLost,
    StreamRefused,
    TransportError,
    TransportUnavailable,
)

_TRANSIENT_CLASSES = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.AskError,
    OSError,
)
"""The client strips the code off errors that it has a class for. MOVED, MASTERDOWN and LOADING have one of these."""

_TRANSIENT_CODES = ("UNBLOCKED", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "MISCONF", "BUSY ")

_WITHIN_A_SCRIPT = re.compile(r"^(ERR )?Error running script \(call to \w+\): (@user_script: ?\d+: )+-?")
"""How Redis 6.2 wraps the error of a command that a script called."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise a TransportError in place of an error of Redis or of the connection to it."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise transport_error(error) from error


def transport_error(error: RedisError | OSError) -> TransportError:
    """The TransportError that says whose fault this error is, with its text."""
    text = f"{type(error).__name__}: {error}"
    if _is_no_group(error):
        return StreamLost(text)
    if isinstance(error, exceptions.NoPermissionError):
        return RightMissing(text)
    if isinstance(error, exceptions.AuthenticationError):
        return AccessDenied(text)
    if _is_transient(error):
        return TransportUnavailable(text)
    return StreamRefused(text)


def _is_transient(error: RedisError | OSError) -> bool:
    """True where the same call may go through later, without a change to this service."""
    if isinstance(error, _TRANSIENT_CLASSES) or _is_out_of_memory(error):
        return True
    return isinstance(error, ResponseError) and _without_wrapping(error).startswith(_TRANSIENT_CODES)


def _is_no_group(error: RedisError | OSError) -> bool:
    """True where the stream or its group has vanished: FLUSHALL, a failover, a DEL."""
    return isinstance(error, ResponseError) and (
        _without_wrapping(error).startswith("NOGROUP")
        or "requires the key to exist" in str(error)
        or "no such key" in str(error)
    )


def _is_out_of_memory(error: RedisError | OSError) -> bool:
    """True where Redis has no room for more; reading and acknowledging still work then."""
    return isinstance(error, exceptions.OutOfMemoryError) or (
        isinstance(error, ResponseError) and _without_wrapping(error).startswith("OOM")
    )


def _without_wrapping(error: ResponseError) -> str:
    return _WITHIN_A_SCRIPT.sub("", str(error))
