"""The workers' SDK: typed async handlers that carry out a service's commands and reply to them.

What authors touch: `worker` (a service's handlers), `registration` (what a handler's signature must be), `context`,
`errors` (the replies' error codes too), `options` (loading too), and `runner` (workers from start to shutdown).
`description` has the handlers as data, for others to read.

One command: `execution` (one command through one handler to one reply), `inbox` (effects that happen exactly once).

Many commands: `dispatcher` (each in a task, within the room there is), `limits` (how many of a type, and how often),
`endings` (what ends a handler that takes too long), `replies` (sending, then acknowledging),
`lease` (keeping the entries of commands until their deadlines). Reading is the streams' (`streams.consumer_loop`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected, Retryable, Unknown, WrongHandler
from saga_service.worker.options import WorkerNotLoaded, WorkerOptions, load_worker
from saga_service.worker.worker import Worker

if TYPE_CHECKING:
    from saga_service.worker.inbox.postgres import PostgresInbox
    from saga_service.worker.runner import WorkerCannotStart, run_workers

__all__ = [
    "PostgresInbox",
    "Rejected",
    "Retryable",
    "StepContext",
    "Unknown",
    "Worker",
    "WorkerCannotStart",
    "WorkerNotLoaded",
    "WorkerOptions",
    "WrongHandler",
    "load_worker",
    "run_workers",
]

_WITH_SERVERS = {
    "PostgresInbox": "saga_service.worker.inbox.postgres",
    "WorkerCannotStart": "saga_service.worker.runner",
    "run_workers": "saga_service.worker.runner",
}

if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of ours

    def __getattr__(name: str) -> object:
        # Imported at first use: code that only defines or tests handlers needs no client of a server.
        if name not in _WITH_SERVERS:
            raise AttributeError(f"module 'saga_service.worker' has no attribute '{name}'")
        return getattr(import_module(_WITH_SERVERS[name]), name)
