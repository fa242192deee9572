"""A saga in its row: what people search by is readable, the rest is encrypted, and all survives the round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.state import Signal, StepState
from saga_service.store.commit import arguments
from saga_service.store.encryption import decrypted_state, encrypted_state, values
from saga_service.wire.encryption import DecryptionFailed, DecryptOnly, UnknownKey, is_encrypted
from tests.support.builders import SAGA_ID, running
from tests.support.ciphers import MARKER, OF_BOTH, OF_NEW, OF_OLD
from tests.support.store_batches import batch, start, succeed
from tests.unit.store.test_rows import OBJECTS, SIGNALS, STEPS

TOLD = (Signal("approved", "s-1", {"by": MARKER}), Signal("approved", "s-2", None))
STATE = running("reserve").state._replace(
    input={"name": MARKER},
    steps=(StepState("reserve", output={"at": MARKER}), StepState("charge", output={}), StepState("ship")),
    signals=TOLD,
)


@given(OBJECTS, st.lists(STEPS, max_size=4), st.lists(SIGNALS, max_size=3))
def test_a_saga_comes_out_as_it_went_in(
    saga_input: dict[str, object], steps: list[StepState], signals: list[Signal]
) -> None:
    state = STATE._replace(input=saga_input, steps=tuple(steps), signals=tuple(signals))
    assert decrypted_state(encrypted_state(state, OF_NEW), OF_BOTH) == state


def test_input_outputs_and_signals_are_encrypted_and_all_else_is_readable() -> None:
    stored = encrypted_state(STATE, OF_NEW)
    assert MARKER not in str(stored)
    assert [is_encrypted(value) for value in values(stored)] == [True, True, True]
    assert stored._replace(input=STATE.input, steps=STATE.steps, signals=TOLD) == STATE
    assert [step._replace(output=None) for step in stored.steps] == [step._replace(output=None) for step in STATE.steps]


def test_what_was_stored_before_there_were_keys_is_read_as_it_is() -> None:
    assert decrypted_state(STATE, OF_NEW) is STATE
    assert decrypted_state(STATE, None) is STATE


def test_an_encrypted_row_is_never_taken_for_a_plain_one() -> None:
    with pytest.raises(
        UnknownKey, match=f"the stored input of saga {SAGA_ID} is encrypted with key 'new', and no keys"
    ):
        decrypted_state(encrypted_state(STATE, OF_NEW), None)


def test_what_cannot_be_decrypted_is_named() -> None:
    plain_input = encrypted_state(STATE, OF_OLD, with_input=False)
    with pytest.raises(UnknownKey, match=f"the stored output of reserve of saga {SAGA_ID} is encrypted with key 'old'"):
        decrypted_state(plain_input, OF_NEW)


def test_an_output_that_was_moved_to_another_step_is_refused() -> None:
    stored = encrypted_state(STATE, OF_NEW)
    moved = stored.steps[1]._replace(output=stored.steps[0].output)
    with pytest.raises(DecryptionFailed, match="the stored output of charge"):
        decrypted_state(stored._replace(steps=(stored.steps[0], moved)), OF_NEW)


def test_an_input_that_was_moved_to_another_saga_is_refused() -> None:
    stored = encrypted_state(STATE._replace(steps=(), signals=()), OF_NEW)
    other = encrypted_state(STATE._replace(id=SAGA_ID, input={"name": "Grace"}), OF_NEW)
    moved = stored._replace(id=type(SAGA_ID)("00000000-0000-8000-8000-000000000000"))
    assert decrypted_state(stored._replace(input=other.input), OF_NEW).input == {"name": "Grace"}
    with pytest.raises(DecryptionFailed, match="it belongs elsewhere"):
        decrypted_state(moved, OF_NEW)


def test_a_commit_holds_no_data_and_writes_the_input_once() -> None:
    began = start("order-1", saga_input={"name": MARKER})
    went_on = succeed(began, {"at": MARKER})
    for transition in (began, went_on):
        # Its messages are encrypted before: what was asked of the store here is the rows.
        made = batch(transition)
        made.messages.clear()
        assert MARKER in str(arguments(made, 1))
        assert MARKER not in str(arguments(made, 1, OF_NEW))
    assert str(arguments(batch(went_on), 1, OF_NEW)).count("new.") == 1
    assert arguments(batch(began), 1, DecryptOnly(OF_NEW)) == arguments(batch(began), 1)
