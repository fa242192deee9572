"""How a worker runs, as opposed to what it does."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field

from saga_service.encryption import load_cipher
from saga_service.settings import Settings
from saga_service.wire.encryption import Cipher
from saga_service.wire.stream_names import PREFIX_DEFAULT


def _consumer_of_this_run() -> str:
    # Never the name of an earlier run: its pending entries are reclaimed, and are not ours to answer for.
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The defaults are those of the service's settings. Raises ValueError where a number cannot work."""

    redis_url: str = "redis://localhost:6379/0"
    prefix: str = PREFIX_DEFAULT
    """How the names of the streams begin; the same as the service's."""
    consumer: str = field(default_factory=_consumer_of_this_run)
    """This run's name in its consumer groups. No two runs may ever have the same."""
    concurrency: int | None = None
    """Commands that each worker carries out at once, at most; without it, what the worker itself says."""
    read_block_ms: int = 2_000
    """How long one read waits on an idle stream."""
    reclaim_idle_ms: int = 20_000
    """A command that a worker has held this long without a sign of life is taken over by another."""
    reclaim_period_ms: int = 5_000
    """How often to look for such commands."""
    stop_grace_ms: int = 8_000
    """How long a stop waits for handlers that are running, and then once more for Redis to take the replies."""
    reply_bytes_max: int = 1_048_576
    """The largest reply that the service takes in (`SAGA_DATA_BYTES_MAX` there)."""
    cipher: Cipher | None = None
    """What decrypts the data of commands and encrypts that of replies; the service's own, or one with the same keys."""

    def __post_init__(self) -> None:
        for name in ("read_block_ms", "reclaim_idle_ms", "reclaim_period_ms", "reply_bytes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, but is {self.concurrency}")
        if self.stop_grace_ms < 0:
            raise ValueError(f"stop_grace_ms must not be negative, but is {self.stop_grace_ms}")


# MERGED from worker.from_settings:
# A worker's options as the settings have them.


def worker_options(settings: Settings) -> WorkerOptions:
    """What `saga-service worker` and workers inside the service run with. Raises CipherNotLoaded."""
    return WorkerOptions(
        redis_url=settings.redis_url.get_secret_value(),
        prefix=settings.prefix,
        consumer=settings.consumer,
        concurrency=settings.worker_concurrency,
        read_block_ms=settings.read_block_ms,
        reclaim_idle_ms=settings.reclaim_idle_ms,
        reclaim_period_ms=settings.reclaim_period_ms,
        stop_grace_ms=settings.stop_grace_ms,
        reply_bytes_max=settings.data_bytes_max,
        cipher=load_cipher(
            settings.encryption_keys.get_secret_value(),
            settings.encryption_cipher,
            encrypt=settings.encryption_enabled,
        ),
    )
