"""A service's worker: the handlers of its commands, as authors register them. `runner` runs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from saga_service.worker.errors import NOT_A_PROBE, Rejected, WrongHandler
from saga_service.worker.limits import seconds_between
from saga_service.worker.registration import Handler, Result, read_handler

if TYPE_CHECKING:
    from saga_service.worker.inbox.postgres import PostgresInbox

CONCURRENCY_DEFAULT = 64
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Function = TypeVar("Function", bound=Callable[..., Coroutine[Any, Any, Result]])


class Worker:
    """The handlers for the commands of one service: `Worker("payment")` has those whose type begins with `payment.`.

    `group` is the consumer group that all processes of this service share, the service's name if not given.
    `concurrency` is how many commands one process carries out at once, at most. With an `inbox` each command's effect
    is on record, so that a repeat is answered and not carried out again. `run_workers` runs the worker.

    Raises ValueError for a name that no stream can have, and for a concurrency below 1.
    """

    def __init__(
        self,
        service: str,
        *,
        group: str | None = None,
        concurrency: int = CONCURRENCY_DEFAULT,
        inbox: PostgresInbox | None = None,
    ) -> None:
        if not _is_text(service) or not _SERVICE.fullmatch(service):
            raise ValueError(f"a service's name is made of letters, digits, '-' and '_', but is {service!r}")
        if group is not None and not (_is_text(group) and group):
            raise ValueError(f"the group of worker '{service}' must be a name, but is {group!r}")
        if not _is_number(concurrency, int) or concurrency < 1:
            raise ValueError(f"the concurrency of worker '{service}' must be at least 1, but is {concurrency!r}")
        if inbox is not None and not callable(getattr(inbox, "open", None)):
            raise ValueError(f"the inbox of worker '{service}' must be a PostgresInbox(...), but is {inbox!r}")
        self.service = service
        self.group = group or service
        self.concurrency = concurrency
        self.inbox = inbox
        self._handlers: dict[str, Handler] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The registered handlers, by command type."""
        return MappingProxyType(self._handlers)

    def handler(
        self,
        command_type: str,
        *,
        undoes: str | None = None,
        heartbeat: float | None = None,
        concurrency: int | None = None,
        rate: str | None = None,
    ) -> Callable[[Function], Function]:
        """Register the decorated function for a command type, an action or a compensation alike.

        `undoes` names the action that this handler compensates, a command type of this worker: an undo whose action
        never began by the inbox succeeds without the function. `heartbeat` is the seconds between two signs of life
        that are given while the function runs. `concurrency` is how many commands of this type one process carries out
        at once, at most. `rate` is how often one process starts one, such as `50/s`, `20/m` or `100/h`; commands that
        come faster are queued, and do not hold up other types.

        The function stays as it is and can be called directly. Raises WrongHandler, with what to write instead, for a
        signature or an option that cannot work and for a type of another service.
        """
        self._check_type(command_type, 'handler("{type}")')
        distance_s = _distance_s(command_type, rate)
        _check_at_least(command_type, "heartbeat", heartbeat, 0.1, (int, float))
        _check_at_least(command_type, "concurrency", concurrency, 1, int)
        if undoes is not None:
            self._check_type(undoes, f'handler("{command_type}", undoes="{{type}}")')

        def register(function: Function) -> Function:
            handler = replace(
                read_handler(command_type, function),
                undoes=undoes,
                heartbeat_s=heartbeat,
                concurrency=concurrency,
                seconds_between=distance_s,
            )
            self._check_inbox(handler)
            self._register(handler)
            return function

        return register

    def answer_probes(self, command_type: str, *, of: str) -> None:
        """Have the inbox answer this type, which a step names as its `probe`: did the action `of` happen?

        The answer is yes (with the action's result), no (and no attempt that was sent so far will begin), or, for an
        action that is not transactional and was begun, in doubt. Raises WrongHandler.
        """
        self._check_type(command_type, 'answer_probes("{type}", of="...")')
        self._check_type(of, f'answer_probes("{command_type}", of="{{type}}")')
        if self.inbox is None:
            raise WrongHandler(
                f"'{command_type}' can be answered by an inbox alone; write Worker(…, inbox=PostgresInbox(…))"
            )
        self._register(replace(read_handler(command_type, _no_probe), answers_probes=True, undoes=of))

    def check(self) -> None:
        """Check what can be seen only once all handlers are registered.

        Raises ValueError for a worker without handlers, and WrongHandler for an action that is named and not there.
        """
        if not self._handlers:
            raise ValueError(f"worker '{self.service}' has no handlers; register them with @worker.handler(...)")
        for handler in self._handlers.values():
            if handler.undoes is not None and handler.undoes not in self._handlers:
                raise WrongHandler(
                    f"'{handler.command_type}' names the action '{handler.undoes}', for which worker '{self.service}' "
                    "has no handler: its inbox would know nothing of that action"
                )

    def _check_type(self, command_type: object, written: str) -> None:
        what_to_write = f"@worker.{written}" if written.startswith("handler") else f"worker.{written}"
        if callable(command_type):
            name = getattr(command_type, "__name__", "the function")
            example = what_to_write.format(type=f"{self.service}.{name}")
            raise WrongHandler(f"'{name}' stands where a command type belongs; write {example}")
        if not isinstance(command_type, str):
            example = what_to_write.format(type=f"{self.service}.<what to do>")
            raise WrongHandler(f"a command type is a text, but is {command_type!r}; write {example}")
        if not command_type.startswith(f"{self.service}.") or command_type.endswith("."):
            raise WrongHandler(
                f"'{command_type}' is not a command of service '{self.service}'; its types are written "
                f"'{self.service}.<what to do>'"
            )

    def _check_inbox(self, handler: Handler) -> None:
        if self.inbox is not None:
            return
        needs_it = "takes a connection" if handler.takes_connection else "has 'undoes'" if handler.undoes else None
        if needs_it is not None:
            raise WrongHandler(
                f"handler '{handler.name}' of '{handler.command_type}' {needs_it}, and that needs an inbox; "
                "write Worker(…, inbox=PostgresInbox(…))"
            )

    def _register(self, handler: Handler) -> None:
        already = self._handlers.get(handler.command_type)
        if already is not None:
            raise WrongHandler(
                f"'{handler.command_type}' has a handler already, '{already.name}'; a command type has one handler"
            )
        self._handlers[handler.command_type] = handler


async def _no_probe(command: dict[str, Any]) -> None:
    """Refuse an action or a compensation of a type that the inbox answers probes of."""
    raise Rejected(NOT_A_PROBE, "this type answers probes; it does nothing, and undoes nothing")


def _distance_s(command_type: str, rate: str | None) -> float:
    try:
        return 0.0 if rate is None else seconds_between(str(rate))
    except ValueError as error:
        raise WrongHandler(f"'{command_type}': {error}") from None


def _check_at_least(
    command_type: str, name: str, given: object, least: float, kind: type[int] | tuple[type[int], type[float]]
) -> None:
    if given is None:
        return
    if not _is_number(given, kind):
        number = "a whole number" if kind is int else "a number of seconds"
        raise WrongHandler(f"'{command_type}': its {name} must be {number}, but is {given!r}")
    assert isinstance(given, int | float), "a number is one of these"
    if not given >= least:
        raise WrongHandler(f"'{command_type}': its {name} must be at least {least}, but is {given}")


def _is_text(given: object) -> bool:
    return isinstance(given, str)


def _is_number(given: object, kind: type[int] | tuple[type[int], type[float]]) -> bool:
    return isinstance(given, kind) and not isinstance(given, bool)
