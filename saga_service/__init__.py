"""A saga orchestrator on Redis Streams and Postgres.

from saga_service import Retry, Saga, Step, Trigger                # to define sagas
from saga_service import Rejected, Retryable, StepContext, Worker  # to write the workers that carry them out
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saga_service.definitions import (
        Defaults,
        DefinitionErrors,
        Retry,
        Saga,
        Step,
        Trigger,
        check_saga,
        load_definitions,
    )
    from saga_service.worker import PostgresInbox, Rejected, Retryable, StepContext, Worker

__all__ = [
    "Defaults",
    "DefinitionErrors",
    "PostgresInbox",
    "Rejected",
    "Retry",
    "Retryable",
    "Saga",
    "Step",
    "StepContext",
    "Trigger",
    "Worker",
    "check_saga",
    "load_definitions",
]

_OF_WORKERS = frozenset({"PostgresInbox", "Rejected", "Retryable", "StepContext", "Worker"})

if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of ours

    def __getattr__(name: str) -> object:
        # Imported when it is used: a program that needs a part of this package does not import all of it.
        if name not in __all__:
            raise AttributeError(f"module 'saga_service' has no attribute '{name}'")
        home = "saga_service.worker" if name in _OF_WORKERS else "saga_service.definitions"
        return getattr(import_module(home), name)
