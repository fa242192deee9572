"""A saga that goes well, and one that gives up: what is sent, what is recorded, how it ends."""

from __future__ import annotations

import pytest

from saga_service.core.effects import Command, Ended, HistoryEntry
from saga_service.core.events import Replied
from saga_service.core.ids import CommandName
from saga_service.core.state import Fault, SagaState, StepState
from saga_service.core.vocabulary import Direction, Due, Outcome, SagaStatus, StepStatus, Verdict
from tests.support.builders import (
    COMPENSATION_TIMEOUT_MS,
    SAGA_ID,
    START_MS,
    TIMEOUT_MS,
    SagaInMemory,
    definition,
    only_command,
    running,
    step,
)

TRACE = "00-trace-01"


def _command(name: str, now_ms: int, outputs: dict[str, object], *, undo: bool = False) -> Command:
    return Command(
        type=f"service.{'undo-' if undo else ''}{name}",
        saga_id=SAGA_ID,
        saga="order",
        step=name,
        direction=Direction.COMPENSATION if undo else Direction.ACTION,
        attempt=1,
        deadline_ms=now_ms + (COMPENSATION_TIMEOUT_MS if undo else TIMEOUT_MS),
        input={"amount": 5},
        outputs=outputs,
        traceparent=TRACE,
    )


def test_a_start_makes_the_saga_and_sends_its_first_step() -> None:
    saga = SagaInMemory(definition("reserve", "charge"))
    transition = saga.start()
    reserve = _command("reserve", START_MS, {})
    assert transition.verdict is Verdict.APPLIED
    assert transition.commands == (reserve,)
    assert transition.history == (HistoryEntry(SAGA_ID, 1, START_MS, "started", SagaStatus.RUNNING, sent=(reserve,)),)
    assert transition.ended is None
    assert transition.state == SagaState(
        id=SAGA_ID,
        saga="order",
        version="v1",
        key="order-1",
        status=SagaStatus.RUNNING,
        revision=1,
        input={"amount": 5},
        steps=(
            StepState(
                "reserve",
                StepStatus.DISPATCHED,
                attempts=1,
                due=Due.TIMEOUT,
                due_at_ms=START_MS + TIMEOUT_MS,
                started_at_ms=START_MS,
            ),
            StepState("charge"),
        ),
        created_at_ms=START_MS,
        updated_at_ms=START_MS,
        wake_at_ms=START_MS + TIMEOUT_MS,
        traceparent=TRACE,
    )


def test_three_steps_that_go_well_are_done_in_order_and_complete_the_saga() -> None:
    saga = running("reserve", "charge", "ship")
    saga.now_ms = START_MS + 10
    saga.succeed("reserve", {"place": "A4"})
    saga.now_ms = START_MS + 20
    saga.succeed("charge", {"payment": 7})
    saga.now_ms = START_MS + 30
    last = saga.succeed("ship", {"parcel": "P1"})

    assert saga.sent == [
        _command("reserve", START_MS, {}),
        _command("charge", START_MS + 10, {"reserve": {"place": "A4"}}),
        _command("ship", START_MS + 20, {"reserve": {"place": "A4"}, "charge": {"payment": 7}}),
    ]
    assert [command.id for command in saga.sent] == [
        f"{SAGA_ID}:reserve:action:1",
        f"{SAGA_ID}:charge:action:1",
        f"{SAGA_ID}:ship:action:1",
    ]
    assert [command.idempotency_key for command in saga.sent] == [
        f"{SAGA_ID}:reserve:action",
        f"{SAGA_ID}:charge:action",
        f"{SAGA_ID}:ship:action",
    ]
    assert [(line.revision, line.at_ms, line.event, line.step, line.status) for line in saga.history] == [
        (1, START_MS, "started", None, SagaStatus.RUNNING),
        (2, START_MS + 10, "action_succeeded", "reserve", SagaStatus.RUNNING),
        (3, START_MS + 20, "action_succeeded", "charge", SagaStatus.RUNNING),
        (4, START_MS + 30, "action_succeeded", "ship", SagaStatus.COMPLETED),
    ]
    assert last.commands == ()
    outputs: dict[str, dict[str, object]] = {
        "reserve": {"place": "A4"},
        "charge": {"payment": 7},
        "ship": {"parcel": "P1"},
    }
    assert saga.ends == [
        Ended(
            saga_id=SAGA_ID,
            saga="order",
            key="order-1",
            status=SagaStatus.COMPLETED,
            revision=4,
            at_ms=START_MS + 30,
            outputs=outputs,
            fault=None,
            traceparent=TRACE,
        )
    ]
    state = saga.state
    assert (state.status, state.revision, state.ended_at_ms, state.updated_at_ms) == (
        SagaStatus.COMPLETED,
        4,
        START_MS + 30,
        START_MS + 30,
    )
    assert (state.wake_at_ms, state.fault, state.created_at_ms) == (None, None, START_MS)
    assert state.steps == tuple(
        StepState(
            name,
            StepStatus.SUCCEEDED,
            attempts=1,
            effect_revision=position + 2,
            output=output,
            started_at_ms=START_MS + 10 * position,
            ended_at_ms=START_MS + 10 * position + 10,
        )
        for position, (name, output) in enumerate(outputs.items())
    )


def test_a_step_that_returns_nothing_adds_no_output() -> None:
    saga = running("reserve", "charge")
    transition = saga.succeed("reserve", None)
    assert only_command(transition).outputs == {}


def test_a_saga_without_steps_is_completed_by_its_start() -> None:
    saga = running()
    assert saga.status == SagaStatus.COMPLETED
    assert [(ended.status, ended.revision) for ended in saga.ends] == [(SagaStatus.COMPLETED, 1)]
    assert saga.state.ended_at_ms == START_MS


def test_progress_changes_nothing() -> None:
    saga = running("reserve")
    before = saga.state
    transition = saga.progress("reserve")
    assert transition.verdict is Verdict.REPEATED
    assert transition.state is before


@pytest.mark.parametrize("failing", range(6))
def test_a_failure_at_any_step_undoes_the_ones_before_it_in_reverse_order(failing: int) -> None:
    names = [f"s{position}" for position in range(6)]
    saga = running(*names)
    for name in names[:failing]:
        saga.succeed(name)
    saga.reject(names[failing], "broken")
    undone = list(reversed(names[:failing]))
    for name in undone:
        assert saga.status == SagaStatus.COMPENSATING
        saga.undo_succeeds(name)
    assert saga.sent_names == [f"{name} 1" for name in names[: failing + 1]] + [f"undo {name} 1" for name in undone]
    assert saga.status == SagaStatus.COMPENSATED
    assert [saga.step(name).status for name in names] == (
        [StepStatus.COMPENSATED] * failing + [StepStatus.FAILED] + [StepStatus.PENDING] * (5 - failing)
    )
    assert saga.state.fault == Fault("broken", f"{names[failing]}: broken", step=names[failing])


def test_an_undo_command_names_exactly_what_to_undo() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve", {"place": "A4"})
    saga.now_ms = START_MS + 50
    transition = saga.reject("charge")
    undo = _command("reserve", START_MS + 50, {"reserve": {"place": "A4"}}, undo=True)
    assert transition.commands == (undo,)
    assert undo.id == f"{SAGA_ID}:reserve:compensation:1"
    assert undo.idempotency_key == f"{SAGA_ID}:reserve:compensation"
    state = saga.step("reserve")
    assert (state.status, state.compensation_attempts, state.attempts) == (StepStatus.COMPENSATING, 1, 1)
    assert (state.due, state.due_at_ms) == (Due.TIMEOUT, START_MS + 50 + COMPENSATION_TIMEOUT_MS)


def test_the_end_of_a_compensated_saga_is_announced_without_outputs() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve", {"place": "A4"})
    saga.reject("charge", "declined")
    saga.now_ms = START_MS + 99
    transition = saga.undo_succeeds("reserve")
    ended = Ended(
        saga_id=SAGA_ID,
        saga="order",
        key="order-1",
        status=SagaStatus.COMPENSATED,
        revision=4,
        at_ms=START_MS + 99,
        outputs={},
        fault=Fault("declined", "charge: declined", step="charge"),
        traceparent=TRACE,
    )
    assert transition.ended == ended
    assert saga.ends == [ended]
    assert saga.state.ended_at_ms == START_MS + 99
    assert saga.step("reserve").ended_at_ms == START_MS + 99


def test_the_history_of_an_undo_names_each_direction_and_each_fault() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.reject("charge", "declined")
    saga.undo_succeeds("reserve")
    assert [(line.event, line.step, line.direction, line.attempt, line.status) for line in saga.history] == [
        ("started", None, None, None, SagaStatus.RUNNING),
        ("action_succeeded", "reserve", Direction.ACTION, 1, SagaStatus.RUNNING),
        ("action_rejected", "charge", Direction.ACTION, 1, SagaStatus.COMPENSATING),
        ("compensation_succeeded", "reserve", Direction.COMPENSATION, 1, SagaStatus.COMPENSATED),
    ]
    assert [line.fault for line in saga.history] == [None, None, Fault("declined", "charge: declined"), None]


def test_a_failed_first_step_without_effects_ends_the_saga_at_once() -> None:
    saga = running("reserve", "charge")
    transition = saga.reject("reserve", "sold-out")
    assert transition.commands == ()
    assert saga.status == SagaStatus.COMPENSATED
    assert transition.ended is not None
    assert transition.ended.fault == Fault("sold-out", "reserve: sold-out", step="reserve")
    assert saga.step("charge") == StepState("charge")


def test_steps_without_compensation_are_passed_over() -> None:
    saga = running("reserve", step("notify", undoable=False), "charge", step("log", undoable=False), "ship")
    for name in ("reserve", "notify", "charge", "log"):
        saga.succeed(name)
    saga.reject("ship")
    saga.undo_succeeds("charge")
    saga.undo_succeeds("reserve")
    assert saga.sent_names[5:] == ["undo charge 1", "undo reserve 1"]
    assert saga.status == SagaStatus.COMPENSATED
    assert saga.step("notify").status is saga.step("log").status is StepStatus.SUCCEEDED


def test_a_saga_of_which_nothing_can_be_undone_ends_at_its_first_failure() -> None:
    saga = running(step("notify", undoable=False), step("log", undoable=False))
    saga.succeed("notify")
    saga.reject("log")
    assert saga.status == SagaStatus.COMPENSATED
    assert saga.sent_names == ["notify 1", "log 1"]


def test_a_failure_without_a_reason_gets_one() -> None:
    saga = running("reserve")
    saga.apply(Replied(CommandName(SAGA_ID, "reserve", Direction.ACTION, 1), Outcome.REJECTED))
    assert saga.state.fault == Fault("failed", "the worker gave no reason", step="reserve")
