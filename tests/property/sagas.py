"""Definitions of every shape that the rules of registration let through."""

from __future__ import annotations

from hypothesis import strategies as st

from saga_service.core.definition import Definition, Expression, StepDefinition
from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import Kind, OnUnknown, Task, UndoOrder
from tests.support.builders import ALWAYS, NEVER, NO_VALUE, Says

policies = st.builds(
    RetryPolicy,
    attempts_max=st.integers(1, 3),
    delay_first_ms=st.sampled_from([0, 1, 50]),
    delay_factor=st.sampled_from([1.0, 2.0]),
    delay_max_ms=st.sampled_from([50, 1_000]),
    never_retry=st.frozensets(st.sampled_from(["declined", "timeout"]), max_size=1),
    jitter=st.booleans(),
    budget_ms=st.sampled_from([None, None, 20, 5_000]),
)
timeouts_ms = st.sampled_from([1, 100, 10_000])
conditions: st.SearchStrategy[Expression | None] = st.sampled_from(
    [None, None, None, None, ALWAYS, NEVER, NO_VALUE, Says(lambda _, outputs: bool(outputs))]
)
mappings: st.SearchStrategy[Expression | None] = st.sampled_from(
    [None, None, None, None, Says(lambda _, outputs: dict(outputs)), NO_VALUE]
)
tasks = st.sampled_from([Task.COMMAND, Task.COMMAND, Task.COMMAND, Task.CHILD, Task.SIGNAL, Task.SLEEP])


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    count = draw(st.integers(1, 6))
    afters = [_after(draw, place) for place in range(count)]
    pivot = draw(st.none() | st.integers(0, count - 1))
    before_pivot = _ancestors(afters, pivot)
    steps = [_step(draw, place, afters[place], _kind(draw, place, pivot, before_pivot)) for place in range(count)]
    deadline_ms = draw(st.sampled_from([None, None, 50, 30_000]))
    return Definition("order", "v1", tuple(steps), deadline_ms, draw(st.sampled_from(UndoOrder)))


def _after(draw: st.DrawFn, place: int) -> tuple[str, ...] | None:
    if draw(st.booleans()):
        return None
    return tuple(f"s{other}" for other in range(place) if draw(st.booleans()))


def _ancestors(afters: list[tuple[str, ...] | None], pivot: int | None) -> set[int]:
    found: set[int] = set()
    to_look_at = [] if pivot is None else [pivot]
    while to_look_at:
        place = to_look_at.pop()
        after = afters[place]
        before = ([place - 1] if place else []) if after is None else [int(name[1:]) for name in after]
        to_look_at += [other for other in before if other not in found]
        found.update(before)
    return found


def _kind(draw: st.DrawFn, place: int, pivot: int | None, before_pivot: set[int]) -> Kind:
    """All that does not come before the pivot has to be retriable: it may not fail for good once that is done."""
    if place == pivot:
        return Kind.PIVOT
    if pivot is not None and place not in before_pivot:
        return Kind.RETRIABLE
    return draw(st.sampled_from([Kind.COMPENSATABLE, Kind.COMPENSATABLE, Kind.COMPENSATABLE, Kind.RETRIABLE]))


def _step(draw: st.DrawFn, place: int, after: tuple[str, ...] | None, kind: Kind) -> StepDefinition:
    task = draw(tasks)
    if kind is Kind.PIVOT and task is Task.SLEEP:
        task = Task.COMMAND
    needs_default = kind is Kind.RETRIABLE
    return StepDefinition(
        name=f"s{place}",
        task=task,
        action="" if task is Task.SLEEP else draw(st.sampled_from(["first", "second"])),
        compensation=draw(st.sampled_from(["service.undo", "service.undo", None])) if task is Task.COMMAND else None,
        after=after,
        when=draw(conditions),
        input=draw(mappings),
        kind=kind,
        retry=draw(policies),
        timeout_ms=draw(timeouts_ms),
        heartbeat_ms=draw(st.sampled_from([None, None, 30])) if task is Task.COMMAND else None,
        on_unknown=draw(st.sampled_from(OnUnknown)),
        probe="service.look",
        compensation_retry=draw(policies),
        compensation_timeout_ms=draw(timeouts_ms),
        default={} if needs_default else draw(st.sampled_from([None, {}])),
    )
