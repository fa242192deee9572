"""A saga comes out of its row as it went in, and what could not be read back never goes in."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.definition import StepDefinition
from saga_service.core.effects import HistoryEntry
from saga_service.core.events import OperationRequested
from saga_service.core.ids import CommandName
from saga_service.core.state import Fault, SagaState, Signal, StepState
from saga_service.core.vocabulary import Course, Direction, Due, OnUnknown, Operation, SagaStatus, StepStatus, Task
from saga_service.store.pool import Unwritable
from saga_service.store.rows import (
    read_saga,
    read_steps,
    write_detail,
    write_extra,
    write_fault,
    write_json,
    write_steps,
)
from tests.support.builders import SAGA_ID, running

# What the wire lets through: no NUL, and no half of a surrogate pair.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
MOMENTS_MS = st.integers(0, 2**53)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
FAULTS = st.builds(Fault, code=TEXTS, message=TEXTS, step=st.none() | TEXTS)
STEPS = st.builds(
    StepState,
    name=TEXTS,
    status=st.sampled_from(StepStatus),
    attempts=st.integers(0, 1000),
    compensation_attempts=st.integers(0, 1000),
    effect_revision=st.none() | st.integers(1, 1000),
    due_at_ms=st.none() | MOMENTS_MS,
    due=st.none() | st.sampled_from(Due),
    unanswered=st.lists(st.integers(1, 1000), max_size=3).map(tuple),
    output=st.none() | OBJECTS,
    fault=st.none() | FAULTS,
    started_at_ms=st.none() | MOMENTS_MS,
    ended_at_ms=st.none() | MOMENTS_MS,
    deadline_ms=st.none() | MOMENTS_MS,
    probes=st.integers(0, 9),
    series_after=st.integers(0, 9),
    series_since_ms=st.none() | MOMENTS_MS,
    called_off_at_ms=st.none() | MOMENTS_MS,
)
SIGNALS = st.builds(Signal, TEXTS, TEXTS, st.none() | OBJECTS, st.none() | TEXTS, st.integers(0, 2**20))
PARENTS = st.builds(
    CommandName,
    st.just(SAGA_ID),
    st.sampled_from(["ship", "plan-route"]),
    st.sampled_from(Direction),
    st.integers(1, 9),
)


@given(st.lists(STEPS, max_size=4).map(tuple))
def test_steps_are_read_as_they_were_written(steps: tuple[StepState, ...]) -> None:
    assert read_steps(write_steps(steps)) == steps


def test_what_few_sagas_have_costs_the_others_nothing() -> None:
    saga = running("reserve", "charge")
    assert write_extra(saga.state) is None
    assert len(orjson.loads(write_steps(saga.state.steps))[0]) == 12


def courses(status: SagaStatus) -> st.SearchStrategy[Course]:
    """A saga has the course that its status says; paused or stuck it may have either."""
    if status in (SagaStatus.PAUSED, SagaStatus.STUCK):
        return st.sampled_from(Course)
    undoing = status in (SagaStatus.COMPENSATING, SagaStatus.COMPENSATED)
    return st.just(Course.BACKWARD if undoing else Course.FORWARD)


@given(OBJECTS, st.none() | FAULTS, st.sampled_from(SagaStatus), st.data())
def test_a_saga_is_read_as_it_was_written(
    saga_input: dict[str, object], fault: Fault | None, status: SagaStatus, data: st.DataObject
) -> None:
    state = SagaState(
        id=SAGA_ID,
        saga="order",
        version="v1",
        key="order-1",
        status=status,
        revision=7,
        input=saga_input,
        steps=(StepState("reserve"),),
        created_at_ms=1,
        updated_at_ms=2,
        ended_at_ms=3,
        wake_at_ms=4,
        fault=fault,
        traceparent="00-trace-01",
        course=data.draw(courses(status)),
        deadline_ms=data.draw(st.none() | MOMENTS_MS),
        signals=data.draw(st.lists(SIGNALS, max_size=3).map(tuple)),
        parent=data.draw(st.none() | PARENTS),
    )
    row = (
        *(SAGA_ID, "order", "v1", "order-1", status.value, 7, write_json(saga_input), write_steps(state.steps)),
        *(1, 2, 3, 4, write_fault(fault), "00-trace-01", write_extra(state)),
    )
    assert read_saga(row) == state


@pytest.mark.parametrize("text", ["\0", "a\0b", "\\\0", "\\\\\0"])
def test_a_text_with_a_nul_is_refused(text: str) -> None:
    with pytest.raises(Unwritable, match="NUL"):
        write_json({"output": [text]})


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "u0000"])
def test_a_text_that_only_looks_like_a_nul_is_kept(text: str) -> None:
    assert orjson.loads(write_json([text])) == [text]


def test_a_line_of_history_tells_what_was_sent_and_what_went_wrong() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    rejected = saga.reject("charge", "no-money").history[0]
    assert write_detail(rejected) == (
        '{"sent":["reserve:compensation:1"],"error":{"code":"no-money","message":"charge: no-money"}}'
    )


def test_a_line_of_history_tells_a_child_that_was_told_to_stop_from_one_that_was_started() -> None:
    saga = running(StepDefinition(name="ship", task=Task.CHILD, action="shipment", on_unknown=OnUnknown.HOLD))
    assert write_detail(saga.history[0]) == '{"sent":["ship:action:1"]}'
    saga.apply(OperationRequested(saga_id=saga.state.id, operation=Operation.CANCEL, actor="Ann"))
    assert write_detail(saga.history[1]) == '{"sent":["ship:cancel:1"],"actor":"Ann"}'


def test_a_line_of_history_with_nothing_to_tell_has_no_detail() -> None:
    entry = HistoryEntry(SAGA_ID, 2, 5, "action_progressed", SagaStatus.RUNNING, "reserve", Direction.ACTION, 1)
    assert write_detail(entry) is None
