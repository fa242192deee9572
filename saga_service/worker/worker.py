"""What authors write against: a service's worker, and its handlers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from saga_service.worker.errors import WrongHandler
from saga_service.worker.options import WorkerOptions
from saga_service.worker.registration import Handler, Result, read_handler
from saga_service.worker.run import run_workers

CONCURRENCY_DEFAULT = 64
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Function = TypeVar("Function", bound=Callable[..., Coroutine[Any, Any, Result]])


class Worker:
    """Carries out the commands of one service: `Worker("payment")` has those whose type begins with `payment.`.

    `group` is the consumer group that all processes of this service share, the service's name if not given.
    `concurrency` is how many commands one process carries out at once, at most.

    Raises ValueError for a name that no stream can have.
    """

    def __init__(self, service: str, *, group: str | None = None, concurrency: int = CONCURRENCY_DEFAULT) -> None:
        if not _SERVICE.fullmatch(service):
            raise ValueError(f"a service's name is made of letters, digits, '-' and '_', but is '{service}'")
        if concurrency < 1:
            raise ValueError(f"the concurrency of worker '{service}' must be at least 1, but is {concurrency}")
        self.service = service
        self.group = group or service
        self.concurrency = concurrency
        self._handlers: dict[str, Handler] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By command type."""
        return MappingProxyType(self._handlers)

    def handler(self, command_type: str) -> Callable[[Function], Function]:
        """Register the decorated function for a command type, an action or a compensation alike.

        The function stays as it is and can be called directly. Raises WrongHandler, at once and with what to write
        instead, where its signature cannot work or the type is not this worker's to have.
        """
        if not command_type.startswith(f"{self.service}.") or command_type.endswith("."):
            raise WrongHandler(
                f"'{command_type}' is not a command of service '{self.service}'; its types are written "
                f"'{self.service}.<what to do>'"
            )

        def register(function: Function) -> Function:
            handler = read_handler(command_type, function)
            already = self._handlers.get(command_type)
            if already is not None:
                raise WrongHandler(
                    f"'{command_type}' has a handler already, '{already.name}'; a command type has one handler"
                )
            self._handlers[command_type] = handler
            return function

        return register

    async def run(self, options: WorkerOptions | None = None, *, stop: asyncio.Event | None = None) -> None:
        """Work until told to stop; see `run_workers`, of which this is the case of one."""
        await run_workers([self], options, stop=stop)
