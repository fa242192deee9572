"""The drawn state machine is the one that runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.advance import advance
from saga_service.core.diagram import saga_moves, state_diagram, step_moves
from saga_service.core.effects import Transition
from saga_service.core.events import Event, Replied, TimerDue
from saga_service.core.ids import CommandName
from saga_service.core.state import Fault, SagaState
from saga_service.core.vocabulary import Direction, Outcome
from tests.support.builders import SAGA_ID, START_MS, definition, started, step
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "state-machine.md"
STEP_MOVES = {(before, after) for before, after, _ in step_moves()}
SAGA_MOVES = {(before, after) for before, after, _ in saga_moves()}
TRIP = definition(step("car"), step("check", undoable=False), step("hotel"))
HOUR_MS = 3_600_000


def test_the_document_is_what_the_tables_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == state_diagram(), (
        "docs/state-machine.md is stale; run: python -m saga_service.core.diagram > docs/state-machine.md"
    )


def test_every_status_is_drawn() -> None:
    text = state_diagram()
    for status in ("pending", "compensation_failed", "running", "stuck"):
        assert f"{status} --> " in text


@st.composite
def replies(draw: st.DrawFn) -> Replied:
    name = draw(st.sampled_from([each.name for each in TRIP.steps]))
    command = CommandName(SAGA_ID, name, draw(st.sampled_from(Direction)), draw(st.integers(1, 3)))
    return Replied(command, draw(st.sampled_from(Outcome)), fault=Fault("failed", "no reason"))


@given(st.lists(replies() | st.just(TimerDue(SAGA_ID)), max_size=40))
def test_a_saga_never_moves_where_nothing_is_drawn(events: list[Event]) -> None:
    transition = advance(TRIP, None, started(TRIP), START_MS)
    now_ms = START_MS
    for event in events:
        before, now_ms = transition.state, now_ms + HOUR_MS
        assert before is not None
        transition = advance(TRIP, before, event, now_ms)
        assert moves_not_drawn(before, transition) == []


def moves_not_drawn(before: SagaState, transition: Transition) -> list[tuple[str, str]]:
    after = transition.state
    assert after is not None
    saga = (before.status.value, after.status.value)
    steps = [(old.status.value, new.status.value) for old, new in zip(before.steps, after.steps, strict=True)]
    missing = [saga] if saga[0] != saga[1] and not _is_drawn(saga, SAGA_MOVES) else []
    return missing + [move for move in steps if move[0] != move[1] and not _is_drawn(move, STEP_MOVES)]


def _is_drawn(move: tuple[str, str], drawn: set[tuple[str, str]]) -> bool:
    """As one arrow, or as two in a row: an event may change a step, and the saga's look at itself changes it again."""
    return move in drawn or any((move[0], middle) in drawn and (middle, move[1]) in drawn for _, middle in drawn)
