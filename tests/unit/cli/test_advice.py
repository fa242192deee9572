"""What a person is told to type about a stuck saga: all that the core would do, and nothing that it would refuse."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from saga_service.cli.console.advice import next_steps
from saga_service.core.advance import advance
from saga_service.core.events import OperationRequested
from saga_service.core.vocabulary import Kind, OnUnknown, Operation, Resolution, UndoOrder, Verdict
from tests.support.builders import NO_VALUE, ONCE, SagaInMemory, approval, child, running, step
from tests.support.told_sagas import moment, story_of

PIVOT, RETRIABLE, HOLD = Kind.PIVOT, Kind.RETRIABLE, OnUnknown.HOLD


def undo_given_up_on() -> SagaInMemory:
    saga = running("reserve", step("charge", compensation_retry=ONCE), "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    saga.reject("ship")
    saga.undo_fails("charge")
    return saga


def two_undos_given_up_on() -> SagaInMemory:
    saga = running(
        *(step(name, after=(), compensation_retry=ONCE) for name in ("car", "hotel")), "ship", undo=UndoOrder.PARALLEL
    )
    saga.succeed("car")
    saga.succeed("hotel")
    saga.reject("ship")
    saga.undo_fails("car")
    saga.undo_fails("hotel")
    return saga


def failed_past_its_pivot() -> SagaInMemory:
    saga = running(step("charge", kind=PIVOT), step("ship", kind=RETRIABLE, retry=ONCE))
    saga.succeed("charge")
    saga.fail("ship")
    return saga


def failed_before_its_pivot() -> SagaInMemory:
    saga = running(step("reserve", kind=RETRIABLE, retry=ONCE), step("charge", kind=PIVOT))
    saga.fail("reserve")
    return saga


def pivot_in_doubt() -> SagaInMemory:
    saga = running("reserve", step("charge", kind=PIVOT, on_unknown=HOLD))
    saga.succeed("reserve")
    saga.timer_when_due()
    return saga


def step_in_doubt() -> SagaInMemory:
    saga = running("reserve", step("charge", on_unknown=HOLD))
    saga.succeed("reserve")
    saga.timer_when_due()
    return saga


def retriable_step_in_doubt() -> SagaInMemory:
    saga = running(step("charge", kind=RETRIABLE, on_unknown=HOLD), "ship")
    saga.timer_when_due()
    return saga


def never_attempted() -> SagaInMemory:
    """What it is to be sent cannot be worked out."""
    return running(step("charge", kind=RETRIABLE, sent=NO_VALUE), "ship")


def signal_did_not_come() -> SagaInMemory:
    saga = running(step("charge", kind=PIVOT), approval("approve", kind=RETRIABLE))
    saga.succeed("charge")
    saga.timer_when_due()
    return saga


def child_called_off() -> SagaInMemory:
    saga = running(child("deliver"), "ship")
    saga.timer_when_due()
    return saga


def two_at_once() -> SagaInMemory:
    saga = running(step("charge", after=(), on_unknown=HOLD), step("ship", after=(), kind=RETRIABLE, retry=ONCE))
    saga.fail("ship")
    saga.timer_when_due_of("charge")
    return saga


STUCK: list[tuple[Callable[[], SagaInMemory], list[str]]] = [
    (
        undo_given_up_on,
        ["resolve charge compensated", "retry charge", "skip charge"],
    ),
    (
        two_undos_given_up_on,
        ["resolve car compensated", "retry car", "skip car", "resolve hotel compensated", "retry hotel", "skip hotel"],
    ),
    (failed_past_its_pivot, ["retry ship", "resolve ship succeeded", "skip ship"]),
    (failed_before_its_pivot, ["retry reserve", "resolve reserve succeeded", "skip reserve", "cancel"]),
    (pivot_in_doubt, ["resolve charge succeeded", "resolve charge failed", "retry charge", "skip charge"]),
    (step_in_doubt, ["resolve charge succeeded", "resolve charge failed", "retry charge", "skip charge", "cancel"]),
    (retriable_step_in_doubt, ["resolve charge succeeded", "retry charge", "skip charge", "cancel"]),
    (never_attempted, ["resolve charge succeeded", "skip charge", "cancel"]),
    (signal_did_not_come, ["resolve approve succeeded", "skip approve"]),
    (
        child_called_off,
        ["resolve deliver succeeded", "resolve deliver failed", "retry deliver", "skip deliver", "cancel"],
    ),
    (
        two_at_once,
        [
            *("resolve charge succeeded", "resolve charge failed", "retry charge", "skip charge"),
            *("retry ship", "resolve ship succeeded", "skip ship", "cancel"),
        ],
    ),
]
IDS = [made.__name__ for made, _ in STUCK]


def advised(saga: SagaInMemory) -> list[str]:
    return list(next_steps(story_of(saga), saga.state, saga.definition, moment(saga.now_ms), "A 17"))


def offered(lines: list[str]) -> list[OperationRequested]:
    """Each command as the core would be asked it."""
    return [_read(shlex.split(line)) for line in lines if line.strip().startswith("saga-service ")]


def _read(words: list[str]) -> OperationRequested:
    program, operation, address, *rest = words
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    assert (program, address, options.pop("--reason")) == ("saga-service", "A 17", "...")
    resolution = options.pop("--as", None)
    asked = OperationRequested(
        saga_id=running("any").state.id,
        operation=Operation(operation),
        actor="ada",
        step=options.pop("--step", None),
        resolution=None if resolution is None else Resolution(resolution),
    )
    assert options == {}
    return asked


@pytest.mark.parametrize(("made", "expected"), STUCK, ids=IDS)
def test_what_is_offered_is_what_a_person_may_decide(made: Callable[[], SagaInMemory], expected: list[str]) -> None:
    saga = made()
    assert saga.status == "stuck"
    words = [
        " ".join(filter(None, (asked.operation, asked.step, asked.resolution))) for asked in offered(advised(saga))
    ]
    assert words == expected


@pytest.mark.parametrize("made", [made for made, _ in STUCK], ids=IDS)
def test_nothing_that_is_offered_is_refused(made: Callable[[], SagaInMemory]) -> None:
    saga = made()
    for asked in offered(advised(saga)):
        done = advance(saga.definition, saga.state, asked, saga.now_ms)
        assert done.verdict is Verdict.APPLIED, (asked, done.reason)


def test_why_a_saga_cannot_be_given_up_is_told() -> None:
    reason = "it cannot be given up: the pivot 'charge' is done, or may be: the saga can only go forward"
    assert advised(failed_past_its_pivot())[-1] == reason


def test_without_a_definition_all_is_offered_that_may_be_done_and_a_line_says_so() -> None:
    saga = failed_past_its_pivot()
    lines = list(next_steps(story_of(saga), saga.state, None, moment(saga.now_ms), "A 17"))
    assert lines[0] == "its definition is not registered, or cannot be read here: some of this may be refused"
    assert [asked.operation for asked in offered(lines)] == ["retry", "resolve", "skip", "cancel"]


def test_a_state_of_a_later_version_is_left_to_its_own_command_line() -> None:
    saga = failed_past_its_pivot()
    [line] = next_steps(story_of(saga), None, saga.definition, moment(saga.now_ms), "A 17")
    assert line.startswith("a later version of the service has stored it")


def test_a_saga_whose_command_nobody_carries_out_does_not_go_on_by_itself() -> None:
    saga = running("reserve", "charge")
    [line] = next_steps(story_of(saga), saga.state, saga.definition, moment(saga.now_ms), "A 17", ["stock.reserve"])
    assert line == ("to let it go on, start a worker that carries out stock.reserve: saga-service worker MODULE:WORKER")


def test_a_saga_of_an_older_version_that_nobody_serves_names_it_and_may_be_cancelled() -> None:
    saga = running("reserve", "charge")
    lacking = ["stock.resreve"]
    lines = list(next_steps(story_of(saga), saga.state, saga.definition, moment(saga.now_ms), "A 17", lacking, lacking))
    version = saga.state.version
    assert lines[:2] == [
        f"this saga goes by version {version}, which is no longer the deployed one and sends stock.resreve",
        "to let it go on, give a worker a handler of stock.resreve",
    ]
    assert [asked.operation for asked in offered(lines)] == ["cancel"]
