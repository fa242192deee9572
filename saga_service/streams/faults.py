"""Whose fault an error of Redis is: the environment's (wait and try again), or one that no waiting will mend."""

from __future__ import annotations

import re

from redis import exceptions
from redis.exceptions import RedisError, ResponseError

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


def is_transient(error: BaseException) -> bool:
    """Whether the same call may go through later, with nobody doing anything to this service."""
    if isinstance(error, _TRANSIENT_CLASSES) or is_out_of_memory(error):
        return True
    return isinstance(error, ResponseError) and _words(error).startswith(_TRANSIENT_CODES)


def is_no_group(error: BaseException) -> bool:
    """Whether the stream or its group has vanished: FLUSHALL, a failover, a DEL."""
    return isinstance(error, ResponseError) and (
        _words(error).startswith("NOGROUP") or "requires the key to exist" in str(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Redis has no room for more; reading and acknowledging still work."""
    return isinstance(error, exceptions.OutOfMemoryError) or (
        isinstance(error, ResponseError) and _words(error).startswith("OOM")
    )


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _words(error: ResponseError) -> str:
    return _WITHIN_A_SCRIPT.sub("", str(error))


__all__ = ["RedisError", "describe", "is_no_group", "is_out_of_memory", "is_transient"]
