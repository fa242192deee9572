"""A batch's events folded over its sagas."""

from __future__ import annotations

from saga_service.core.definition import Definition
from saga_service.core.events import Event, Replied, TimerDue, TransportLost
from saga_service.core.ids import CommandName, saga_id_from_key
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import Direction, Outcome, SagaStatus
from saga_service.engine.decode import Received
from saga_service.engine.fold import Folded, fold
from saga_service.wire.entries import Entry
from tests.support.builders import SAGA_ID, START_MS, TIMEOUT_MS, definition, entry, in_short, running, started

ORDER = definition("reserve", "charge")
OTHER_ID = saga_id_from_key("order", "order-2")


def _entry(number: int = 0) -> Entry:
    return entry({"any": "thing"}, "saga:replies", f"1700-{number}")


def _replied(step: str, attempt: int = 1, outcome: Outcome = Outcome.SUCCEEDED) -> Replied:
    return Replied(CommandName(SAGA_ID, step, Direction.ACTION, attempt), outcome, {})


def _definition_of(saga: str, version: str) -> Definition | None:
    return ORDER if (saga, version) == (ORDER.name, ORDER.version) else None


def _fold(*events: Event, state: SagaState | None = None, now_ms: int = START_MS) -> Folded:
    received = [Received(event, _entry(number)) for number, event in enumerate(events)]
    return fold(received, {state.id: state} if state else {}, _definition_of, now_ms)


def _running_state() -> SagaState:
    return running("reserve", "charge").state


def test_a_start_is_a_write_that_grew_out_of_nothing() -> None:
    folded = _fold(started(ORDER))
    assert [(write.state.id, write.state.revision, write.expected_revision) for write in folded.writes] == [
        (SAGA_ID, 1, 0)
    ]
    assert [command.step for command in folded.commands] == ["reserve"]
    assert not folded.dead_letters
    assert not folded.without_effect


def test_two_events_of_one_saga_give_two_lines_of_history_and_one_write() -> None:
    folded = _fold(started(ORDER), _replied("reserve"))
    assert [line.revision for line in folded.history] == [1, 2]
    assert [(write.state.revision, write.expected_revision) for write in folded.writes] == [(2, 0)]
    assert [command.step for command in folded.commands] == ["reserve", "charge"]


def test_a_saga_started_twice_in_one_batch_starts_once_without_dead_letter() -> None:
    folded = _fold(started(ORDER), started(ORDER))
    assert len(folded.writes) == len(folded.history) == len(folded.commands) == 1
    assert not folded.dead_letters
    assert not folded.without_effect, "the write's revision check vouches for the verdict"


def test_events_are_taken_in_their_order() -> None:
    folded = _fold(_replied("reserve"), _replied("charge"), state=_running_state())
    assert folded.writes[0].state.status is SagaStatus.COMPLETED
    assert [ended.saga_id for ended in folded.ended] == [SAGA_ID]
    assert [(write.state.revision, write.expected_revision) for write in folded.writes] == [(3, 1)]


def test_events_of_different_sagas_do_not_touch_each_other() -> None:
    folded = _fold(started(ORDER), started(ORDER, saga_id=OTHER_ID))
    assert [write.state.id for write in folded.writes] == [SAGA_ID, OTHER_ID]
    assert [line.revision for line in folded.history] == [1, 1]


def test_a_refused_event_is_a_dead_letter_with_its_reason_and_its_entry() -> None:
    folded = _fold(_replied("reserve", attempt=7), state=_running_state())
    assert [(letter.stream, letter.entry_id) for letter in folded.dead_letters] == [("saga:replies", "1700-0")]
    assert "was never sent" in folded.dead_letters[0].reason
    assert folded.dead_letters[0].saga_id == SAGA_ID
    assert folded.without_effect == {SAGA_ID}
    assert not folded.writes


def test_an_event_of_an_unknown_saga_is_refused_and_needs_a_fresh_read() -> None:
    folded = _fold(_replied("reserve"))
    assert folded.dead_letters[0].reason == f"no saga with the id {SAGA_ID} is known"
    assert folded.without_effect == {SAGA_ID}


def test_a_repeated_event_changes_nothing_and_needs_a_fresh_read() -> None:
    state = _running_state()
    folded = _fold(started(ORDER), state=state)
    assert folded == Folded(without_effect={SAGA_ID})


def test_an_event_of_an_unknown_version_is_refused_and_changes_nothing() -> None:
    unknown = definition("reserve", name="somebody-elses")
    folded = _fold(started(unknown))
    assert folded.dead_letters[0].reason == ("version v1 of the definition of saga 'somebody-elses' is not known here")
    assert not folded.writes


def test_a_refusal_beside_a_change_of_its_saga_is_not_read_again() -> None:
    folded = _fold(_replied("reserve", attempt=7), _replied("reserve"), state=_running_state())
    assert len(folded.dead_letters) == len(folded.writes) == 1
    assert not folded.without_effect


def test_a_timer_that_came_by_no_entry_is_never_a_dead_letter() -> None:
    folded = fold([Received(TimerDue(SAGA_ID), None)], {}, _definition_of, START_MS)
    assert not folded.dead_letters
    assert folded.without_effect == {SAGA_ID}


def test_a_timer_that_comes_too_early_only_moves_the_wake_up() -> None:
    state = _running_state()
    reserved = _fold(_replied("reserve"), state=state, now_ms=START_MS + 10).states[SAGA_ID]
    assert reserved.wake_at_ms == START_MS + TIMEOUT_MS
    folded = _fold(TimerDue(SAGA_ID), state=reserved, now_ms=START_MS + TIMEOUT_MS)
    assert [write.state.wake_at_ms for write in folded.writes] == [START_MS + 10 + TIMEOUT_MS]
    assert [write.expected_revision for write in folded.writes] == [reserved.revision]
    assert not folded.history
    assert not folded.commands


def test_what_is_in_flight_is_sent_again_with_no_line_of_history() -> None:
    folded = _fold(TransportLost(SAGA_ID), state=_running_state())
    assert [in_short(command) for command in folded.commands] == ["reserve 1"]
    assert not folded.history


def test_given_states_stay_unchanged_so_a_batch_can_be_folded_again() -> None:
    states = {SAGA_ID: _running_state()}
    received = [Received(_replied("reserve"), _entry())]
    first = fold(received, states, _definition_of, START_MS)
    assert states == {SAGA_ID: _running_state()}
    assert fold(received, states, _definition_of, START_MS) == first
