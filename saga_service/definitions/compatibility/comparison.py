"""The comparison of sagas with workers: who carries out each command, and does what is sent fit what is taken?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from saga_service.base.similar_names import closest, closest_or_all
from saga_service.core.definition import StepDefinition
from saga_service.core.ids import service_of
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import ACTION, COMPENSATION, PROBE, Direction, Task
from saga_service.definitions.checks.expressions import check_expressions
from saga_service.definitions.compatibility.command_data import command_data, outlines_of_specs
from saga_service.definitions.compatibility.schema_comparison import Difference, Part, differences
from saga_service.definitions.document import DefinedSaga
from saga_service.definitions.keywords import duration_text
from saga_service.definitions.outline import Outline, StepOutline
from saga_service.definitions.problems import path_text
from saga_service.definitions.schema.outputs import OutputSchema, output_schema
from saga_service.wire.worker_description import HandlerDescription, WorkerDescription

_Handlers = Mapping[str, Mapping[str, HandlerDescription]]
_CALLED = {ACTION: "action", COMPENSATION: "compensation", PROBE: "probe"}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One place where definitions and workers do not fit together, or may not."""

    is_problem: bool
    """True for what is certain to go wrong; False for a hint, at what may go wrong or may be meant so."""
    text: str
    """The fault, and what to do about it; for a service without a worker that depends on where it is asked."""
    saga: str | None = None
    step: str | None = None
    command: str | None = None
    """The command type at fault; None, as `step` is, where several have the fault in common."""
    place: str | None = None
    """The file or module of the definition."""
    service: str | None = None
    """The service that has no worker."""

    def __str__(self) -> str:
        step = None if self.step is None else f"step '{self.step}'"
        return ": ".join(part for part in (self.place, self.saga, step, self.text) if part)


@dataclass(frozen=True, slots=True)
class _Call:
    """A command that a step sends, and the handler that there is for it."""

    spec: DefinedSaga
    step: StepDefinition
    direction: Direction
    type: str

    @property
    def position(self) -> int:
        return self.spec.definition.positions[self.step.name]

    @property
    def name(self) -> str:
        return f"its {_CALLED[self.direction]} '{self.type}'"

    def mismatch(self, text: str, *, is_problem: bool = True) -> Mismatch:
        return Mismatch(is_problem, text, self.spec.name, self.step.name, self.type, self.spec.place)


def compare(
    specs: Sequence[DefinedSaga], workers: Iterable[WorkerDescription], services_elsewhere: Collection[str] = ()
) -> list[Mismatch]:
    """Find everything that does not fit, problems first.

    Several descriptions of one service count together: during a roll-out its workers differ. Nothing is asked of
    `services_elsewhere`, whose workers are not known here.
    """
    handlers = _handlers_by_service(workers)
    outlines = outlines_of_specs(specs)
    calls = [
        (call, outline)
        for spec, outline in zip(specs, outlines, strict=True)
        for call in _calls(spec)
        if service_of(call.type) not in services_elsewhere
    ]
    found = [*_services_without_workers([call for call, _ in calls], handlers)]
    for call, _ in calls:
        found += _of_call(call, handlers.get(service_of(call.type)))
    found += _of_models(calls, handlers)
    found += _of_expressions(specs, outlines, handlers)
    found += _not_called(specs, handlers)
    unique = list(dict.fromkeys(found))
    return [*(each for each in unique if each.is_problem), *(each for each in unique if not each.is_problem)]


def _handlers_by_service(workers: Iterable[WorkerDescription]) -> _Handlers:
    by_service: dict[str, dict[str, HandlerDescription]] = {}
    for worker in workers:
        of_service = by_service.setdefault(worker.service, {})
        of_service.update({handler.type: _usable(handler) for handler in worker.handlers})
    return by_service


def _usable(handler: HandlerDescription) -> HandlerDescription:
    """The handler without schemas that are none: a description may have been written by anyone."""
    return replace(handler, takes=_usable_schema(handler.takes), returns=_usable_schema(handler.returns))


def _usable_schema(schema: JsonObject | None) -> JsonObject | None:
    try:
        return None if schema is None else output_schema(schema).schema
    except ValueError:
        return None


def _calls(spec: DefinedSaga) -> Iterator[_Call]:
    for step in spec.definition.steps:
        if step.task is Task.COMMAND:
            for direction, command in ((ACTION, step.action), (COMPENSATION, step.compensation), (PROBE, step.probe)):
                if command is not None:
                    yield _Call(spec, step, direction, command)


def _services_without_workers(calls: Sequence[_Call], handlers: Mapping[str, object]) -> Iterator[Mismatch]:
    needed: dict[str, list[_Call]] = {}
    for call in calls:
        needed.setdefault(service_of(call.type), []).append(call)
    for service, of_service in needed.items():
        if service not in handlers:
            sagas = list(dict.fromkeys(call.spec.name for call in of_service))
            needed_by = f"{_together(sagas)} {'needs' if len(sagas) == 1 else 'need'}"
            commands = ", ".join(dict.fromkeys(call.type for call in of_service))
            hint = closest(service, sorted(handlers))
            text = f"no worker for the service '{service}', which {needed_by} ({commands}){hint}"
            yield Mismatch(True, text, service=service)


def _together(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _of_call(call: _Call, handlers: Mapping[str, HandlerDescription] | None) -> Iterator[Mismatch]:
    if handlers is None:
        return
    handler = handlers.get(call.type)
    if handler is None:
        known = sorted(handlers)
        hint = closest_or_all(call.type, known, "it has")
        yield call.mismatch(f"{call.name} has no handler in the worker of '{service_of(call.type)}'{hint}")
        return
    misuse = _misuse(call, handler)
    if misuse is not None:
        yield call.mismatch(misuse)
        return
    if call.direction is ACTION:
        yield from _of_heartbeat(call, handler)
        yield from _of_output(call, handler)


def _misuse(call: _Call, handler: HandlerDescription) -> str | None:
    """The reason why a handler that is there cannot stand for this command."""
    if handler.answers_probes and call.direction is not PROBE:
        return f"{call.name} is a type by which the inbox answers probes: it does nothing; write a handler for it"
    is_of_another = handler.undoes is not None and handler.undoes != call.step.action
    if is_of_another and call.direction is not ACTION:
        word = "of" if handler.answers_probes else "undoes"
        return (
            f"{call.name} is registered with {word}='{handler.undoes}', and the step's action is "
            f"'{call.step.action}': the inbox would look for the wrong one; name the step's action there"
        )
    return None


def _of_models(calls: Iterable[tuple[_Call, Outline]], handlers: _Handlers) -> Iterator[Mismatch]:
    """What the handlers' models do not take: once for each field of a model, however many commands it is of."""
    calls_of: dict[tuple[int, str, Difference, str], list[_Call]] = {}
    for call, outline in calls:
        handler = handlers.get(service_of(call.type), {}).get(call.type)
        if handler is None or handler.takes is None or _misuse(call, handler) is not None:
            continue
        sent = command_data(call.spec.definition, outline, call.position, call.direction)
        for each in differences(sent, Part(handler.takes, handler.takes)):
            calls_of.setdefault((id(call.spec), str(handler.takes), each, _remedy(call)), []).append(call)
    for (_, _, fault, _), having in calls_of.items():
        yield _of_field(having, fault)


def _of_field(calls: Sequence[_Call], fault: Difference) -> Mismatch:
    first, is_one = calls[0], len(calls) == 1
    types = list(dict.fromkeys(f"'{call.type}'" for call in calls))
    who, whose = (first.name, "its handler's") if is_one else (_together(types), "their handlers'")
    fits = ("does not fit" if is_one else "do not fit") if fault.is_certain else "may not fit"
    text = _joined(f"{who} {fits} {whose} model: {fault.where} {fault.text}", _remedy(first))
    if is_one:
        return first.mismatch(text, is_problem=fault.is_certain)
    return Mismatch(fault.is_certain, text, first.spec.name, place=first.spec.place)


def _joined(fault: str, remedy: str) -> str:
    return f"{fault} {remedy[0].upper()}{remedy[1:]}" if fault.endswith("?") else f"{fault}; {remedy}"


def _remedy(call: _Call) -> str:
    if call.step.input is None:
        return (
            "the saga's input is sent: change the model, the saga's 'input', or write a mapping at the step's 'input'"
        )
    return "change the model, or the mapping at the step's 'input'"


def _of_heartbeat(call: _Call, handler: HandlerDescription) -> Iterator[Mismatch]:
    allowed_ms, every_s = call.step.heartbeat_ms, handler.heartbeat_s
    if allowed_ms is not None and every_s is not None and every_s * 1000 >= allowed_ms:
        yield call.mismatch(
            f"{call.name} gives a sign of life every {every_s:g} s, and the step's 'heartbeat' is "
            f"{duration_text(allowed_ms)}: each longer attempt would count as lost; write a shorter one at the handler"
        )


def _of_output(call: _Call, handler: HandlerDescription) -> Iterator[Mismatch]:
    declared = call.step.output
    if handler.returns is None or not isinstance(declared, OutputSchema):
        return
    # What has a default is filled in before the output is looked at.
    needed = [name for name in declared.schema.get("required", ()) if name not in declared.defaults]
    taken = {**declared.schema, "required": needed}
    for each in differences(Part(handler.returns, handler.returns), Part(taken, taken, converts=False)):
        where = f"{each.where} " if each.path else ""
        text = f"{call.name} is declared with an 'output' that its handler does not return: {where}{each.text}"
        text = _joined(text, "change the handler's result or the step's 'output'")
        yield call.mismatch(text, is_problem=each.is_certain)


def _of_expressions(
    specs: Sequence[DefinedSaga],
    outlines: Sequence[Outline],
    handlers: _Handlers,
) -> Iterator[Mismatch]:
    """Hints at expressions that do not fit what a handler returns, for steps that declare no output."""
    by_name: dict[str, Outline] = {}
    for spec, outline in zip(specs, outlines, strict=True):
        steps = tuple(_with_result(step, handlers) for step in outline.steps)
        with_results = replace(outline, steps=steps, sagas_by_name=by_name)
        by_name.setdefault(spec.name, with_results)
        before = set(check_expressions(outline))
        for path, text in check_expressions(with_results):
            if (path, text) not in before:
                step = spec.definition.steps[int(path[1])].name
                told = f"'{path_text(path[2:])}' {text} (by what the handlers of earlier steps return)"
                yield Mismatch(False, told, spec.name, step, place=spec.place)


def _with_result(step: StepOutline, handlers: _Handlers) -> StepOutline:
    """The step with its handler's result as its output, where none is declared and the result is known."""
    if step.task is not Task.COMMAND or step.output_schema is not None:
        return step
    action = str(step.content["action"])
    handler = handlers.get(service_of(action), {}).get(action)
    if handler is None or handler.returns is None:
        return step
    return replace(step, output_schema=output_schema(handler.returns))


def _not_called(specs: Sequence[DefinedSaga], handlers: _Handlers) -> Iterator[Mismatch]:
    called = {call.type for spec in specs for call in _calls(spec)}
    for service in sorted(handlers):
        idle = [command for command in sorted(handlers[service]) if command not in called]
        if idle:
            yield Mismatch(
                False,
                f"the worker of '{service}' has handlers that no definition here calls: {', '.join(idle)}; "
                "remove them, or name the definitions that call them",
            )
