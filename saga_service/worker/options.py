"""How a worker runs: its server, its limits and its shutdown, by hand or from the service's settings."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saga_service.wire.encryption import Cipher
from saga_service.wire.transport import PREFIX_DEFAULT

if TYPE_CHECKING:
    from saga_service.settings import Settings


def _consumer_of_this_run() -> str:
    # Never the name of an earlier run: that run's pending entries are reclaimed, and must not seem to be ours.
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of a run, with the defaults of the service's settings. Raises ValueError for a number that cannot
    work."""

    redis_url: str = "redis://localhost:6379/0"
    stream_prefix: str = PREFIX_DEFAULT
    """The beginning of all stream names, as in the service."""
    consumer_name: str = field(default_factory=_consumer_of_this_run)
    """This run's name in its consumer groups. No other run may ever have it."""
    concurrency: int | None = None
    """Commands that each worker carries out at once, at most; None for the worker's own number."""
    read_block_ms: int = 2_000
    """How long one read waits on an idle stream."""
    reclaim_idle_ms: int = 20_000
    """A command that a worker has held this long without renewing it is taken over by another."""
    reclaim_period_ms: int = 5_000
    """How often a worker looks for commands to take over."""
    shutdown_grace_ms: int = 8_000
    """How long a shutdown waits for running handlers and for Redis to take their replies."""
    reply_bytes_max: int = 1_048_576
    """The largest reply that the service takes in (`SAGA_ENTRY_BYTES_MAX` there)."""
    cipher: Cipher | None = None
    """Decrypts the data of commands and encrypts that of replies; the service's own, or one with its keys."""

    def __post_init__(self) -> None:
        for name in ("read_block_ms", "reclaim_idle_ms", "reclaim_period_ms", "reply_bytes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, but is {self.concurrency}")
        if self.shutdown_grace_ms < 0:
            raise ValueError(f"shutdown_grace_ms must not be negative, but is {self.shutdown_grace_ms}")


def worker_options(settings: Settings) -> WorkerOptions:
    """Return the options of `saga-service worker` and of workers inside the service. Raises CipherNotLoaded."""
    from saga_service.encryption import load_cipher  # a worker with options of its own needs no settings and no keys

    return WorkerOptions(
        redis_url=settings.redis_url.get_secret_value(),
        stream_prefix=settings.stream_prefix,
        consumer_name=settings.consumer_name,
        concurrency=settings.worker_concurrency,
        read_block_ms=settings.read_block_ms,
        reclaim_idle_ms=settings.reclaim_idle_ms,
        reclaim_period_ms=settings.reclaim_period_ms,
        shutdown_grace_ms=settings.shutdown_grace_ms,
        reply_bytes_max=settings.entry_bytes_max,
        cipher=load_cipher(
            settings.encryption_keys.get_secret_value(),
            settings.encryption_cipher,
            encrypt=settings.encryption_enabled,
        ),
    )
