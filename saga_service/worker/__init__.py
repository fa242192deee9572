"""The workers' SDK: typed async handlers that carry out a service's commands and answer them.

`worker` (what authors write against), `registration` (what a handler's signature must be), `context`, `errors`,
`execution` (one command through one handler to one reply), `answers` (what is sent for a result), `handling` (many at
once), `limits` (how many of a type, and how often), `deadlines` (ending what takes too long), `heartbeats`, `inbox`
(effects once), `intake` (reading), `replies` (answering and acknowledging), `renewal` (keeping what takes long),
`running` (one worker from start to stop).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected, Retryable, WrongHandler
from saga_service.worker.loading import WorkerNotLoaded, load_worker
from saga_service.worker.options import WorkerOptions
from saga_service.worker.worker import Worker

if TYPE_CHECKING:
    from saga_service.worker.inbox import PostgresInbox
    from saga_service.worker.runner import WorkerCannotStart, run_workers

__all__ = [
    "PostgresInbox",
    "Rejected",
    "Retryable",
    "StepContext",
    "Worker",
    "WorkerCannotStart",
    "WorkerNotLoaded",
    "WorkerOptions",
    "WrongHandler",
    "load_worker",
    "run_workers",
]

_WITH_SERVERS = {
    "PostgresInbox": "saga_service.worker.inbox",
    "WorkerCannotStart": "saga_service.worker.runner",
    "run_workers": "saga_service.worker.runner",
}

if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of ours

    def __getattr__(name: str) -> object:
        # Looked up when it is asked for: who only writes or tests handlers has no use for the servers' clients.
        if name not in _WITH_SERVERS:
            raise AttributeError(f"module 'saga_service.worker' has no attribute '{name}'")
        return getattr(import_module(_WITH_SERVERS[name]), name)
