"""How workers run: loaded by `module:attribute`, with options given by hand or taken from the service's settings."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TYPE_CHECKING

from saga_service.base.address import redis_problem
from saga_service.base.user_modules import NoSuchModule, import_user_module, place_of
from saga_service.wire.encryption import Cipher
from saga_service.wire.transport import PREFIX_DEFAULT
from saga_service.worker.errors import WrongHandler
from saga_service.worker.worker import Worker

if TYPE_CHECKING:
    from saga_service.settings import Settings


def _consumer_of_this_run() -> str:
    # Never the name of an earlier run: that run's pending entries are reclaimed, and must not seem to be ours.
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of a run, with the defaults of the service's settings. Raises ValueError for a number that cannot
    work."""

    redis_url: str = field(default="redis://localhost:6379/0", repr=False)
    """The address, which may have a password in it."""
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
    health_dir: str | None = None
    """Directory for the file by which `saga-service health` finds this run; None for that of SAGA_HEALTH_DIR's
    default."""
    cipher: Cipher | None = None
    """Decrypts the data of commands and encrypts that of replies; the service's own, or one with its keys."""

    def __post_init__(self) -> None:
        problem = redis_problem(self.redis_url)
        if problem is not None:
            raise ValueError(f"redis_url {problem}")
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
        health_dir=settings.health_dir,
        cipher=load_cipher(
            settings.encryption_keys.get_secret_value(),
            settings.encryption_cipher,
            encrypt=settings.encryption_enabled,
        ),
    )


class WorkerNotLoaded(Exception):
    """No worker that can run is named by a `module:attribute`; the text, one line, says why, and where if it can."""


def load_worker(target: str) -> Worker:
    """Import the worker that `module:attribute` names, `shop.workers:payment` for example.

    The working directory is searched for the module as well. Raises WorkerNotLoaded.
    """
    module_name, colon, attribute = target.partition(":")
    if not (colon and module_name and attribute) or module_name.startswith("."):
        raise WorkerNotLoaded(f"'{target}' must be written MODULE:WORKER, {_such_as(target)}")
    module = _imported(module_name)
    found = getattr(module, attribute, None)
    if not isinstance(found, Worker):
        raise WorkerNotLoaded(_why_no_worker(module, attribute, found))
    try:
        found.check()
    except _RAISED_BY_WORKERS as error:
        raise WorkerNotLoaded(f"{module.__file__}: {error}") from None
    return found


_RAISED_BY_WORKERS = (WrongHandler, ValueError)


def _imported(module_name: str) -> ModuleType:
    try:
        return import_user_module(module_name)
    except NoSuchModule as error:
        raise WorkerNotLoaded(str(error)) from None
    except Exception as error:
        # The module is the author's, and so is the mistake: it is reported with its place, without a traceback.
        raise WorkerNotLoaded(_why_not_imported(module_name, error)) from error


def _why_not_imported(module_name: str, error: Exception) -> str:
    place, text = place_of(error) or module_name, " ".join(str(error).split())
    if isinstance(error, _RAISED_BY_WORKERS) and _is_our_own(error):
        return f"{place}: {text}"
    return f"{place}: cannot be imported: {type(error).__name__}: {text}"


def _is_our_own(error: Exception) -> bool:
    # Our own texts say what to write; those of other libraries need the exception's name to be understood.
    last = extract_tb(error.__traceback__)[-1]
    return Path(last.filename).parent == Path(__file__).parent


def _such_as(target: str) -> str:
    """A question with the workers of the module that was named alone; else an example."""
    module_name = target.rstrip(":")
    is_module = all(part.isidentifier() for part in module_name.split("."))
    try:
        workers = _workers_of(import_user_module(module_name)) if is_module else []
    except Exception:  # noqa: BLE001 - what is wrong with the author's module is told once its worker is named
        workers = []
    meant = " or ".join(f"{module_name}:{worker}" for worker in workers)
    return f"did you mean {meant}?" if meant else "such as shop.workers:payment"


def _workers_of(module: ModuleType) -> list[str]:
    return sorted(name for name, value in vars(module).items() if isinstance(value, Worker))


def _why_no_worker(module: ModuleType, attribute: str, found: object) -> str:
    workers = _workers_of(module)
    there = f"its workers: {', '.join(workers)}" if workers else "it has no worker at its top level"
    if found is None:
        return f"module '{module.__name__}' has no '{attribute}'; {there}"
    return f"'{attribute}' of module '{module.__name__}' is of type {type(found).__name__} and no Worker; {there}"
