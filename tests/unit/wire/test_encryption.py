"""Encrypted data on the streams: there and back, bound to its place, and never taken for plain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.effects import ChildRequest, Command, Ended, ParentReply
from saga_service.core.events import OperationRequested, Replied, Signalled, Started
from saga_service.core.ids import CommandName, command_id, saga_id_from_key, saga_id_of_child
from saga_service.core.vocabulary import ChildOperation, Direction, Outcome, SagaStatus
from saga_service.engine.decode import Decoder
from saga_service.wire.children import write_child_request, write_parent_reply
from saga_service.wire.commands import read_command, write_command
from saga_service.wire.dead_letters import DeadLetter, raw_pairs
from saga_service.wire.encryption import (
    OUTCOME,
    Cipher,
    DecryptionFailed,
    DecryptOnly,
    UnknownKey,
    decrypt_value,
    encrypt_event_data,
    encrypt_value,
    encryption_key_id,
    is_encrypted,
    key_id,
    read_data,
    write_data,
)
from saga_service.wire.entries import Message
from saga_service.wire.events import read_event, write_event, write_outcome
from saga_service.wire.replies import read_reply, write_success
from saga_service.wire.transport import StreamNames
from tests.support.builders import SAGA_ID, PlainBlueprint, PlainCatalog, definition, delivered, entry
from tests.support.ciphers import MARKER, OF_BOTH, OF_NEW, OF_OLD

NAMES = StreamNames()
ORDER = definition("charge")
CATALOG = PlainCatalog(PlainBlueprint(ORDER, integers=["amount"], key_field="order_id"))
CHARGE = CommandName(SAGA_ID, "charge", Direction.ACTION, 1)
DATA = {"name": MARKER}
OTHER_SAGA = saga_id_from_key("order", "order-2")

OBJECTS = st.dictionaries(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=5,
)


def command(attempt: int = 1, saga_id: str = SAGA_ID) -> Command:
    return Command(
        type="payment.charge",
        saga_id=saga_id_from_key("order", "order-1") if saga_id == SAGA_ID else OTHER_SAGA,
        saga="order",
        step="charge",
        direction=Direction.ACTION,
        attempt=attempt,
        deadline_ms=1,
        input=DATA,
        outputs={"reserve": {"at": MARKER}},
        traceparent=None,
    )


def data_of(message: Message) -> Any:
    """Any: a JSON object."""
    return orjson.loads(message.fields[message.fields.index("data") + 1])


def with_data_of(message: Message, other: Message) -> Message:
    """A message whose data was put in the place of another's."""
    place = message.fields.index("data") + 1
    return Message(
        message.stream,
        (*message.fields[:place], other.fields[other.fields.index("data") + 1], *message.fields[place + 1 :]),
    )


@given(OBJECTS, st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
def test_data_comes_out_as_it_went_in(value: dict[str, Any], place: list[str]) -> None:
    assert read_data(write_data(value, OF_NEW, *place).encode(), OF_NEW, *place) == value


def test_an_encrypted_value_names_its_key_and_nothing_else() -> None:
    encrypted = encrypt_value(DATA, OF_NEW, "input", SAGA_ID)
    assert (is_encrypted(encrypted), list(encrypted), key_id(encrypted)) == (True, ["$encrypted"], "new")
    assert MARKER not in str(encrypted)


def test_plain_values_have_another_shape() -> None:
    plain: list[dict[str, object]] = [{}, {"a": 1}, {"$encrypted": "x", "a": 1}, {"encrypted": "x"}]
    assert [is_encrypted(value) for value in plain] == [False] * 4


def test_the_key_that_encrypts_is_the_first() -> None:
    assert (encryption_key_id(OF_BOTH), encryption_key_id(OF_OLD)) == ("new", "old")


def test_empty_and_encrypted_objects_are_not_encrypted() -> None:
    encrypted = write_data(DATA, OF_NEW, "here")
    assert write_data({}, OF_NEW, "here") == "{}"
    assert write_data(orjson.loads(encrypted), OF_NEW, "here") == encrypted


def test_places_whose_parts_differ_are_different_places() -> None:
    encrypted = write_data(DATA, OF_NEW, "a", "bc").encode()
    for place in (("ab", "c"), ("a", "b", "c"), ("abc",), ("a", "bc", "")):
        with pytest.raises(DecryptionFailed, match="field 'data' cannot be decrypted"):
            read_data(encrypted, OF_NEW, *place)


def test_a_cipher_that_decrypts_only_writes_plain_data() -> None:
    decrypt_only = DecryptOnly(OF_NEW)
    assert read_data(write_data(DATA, OF_NEW, "here").encode(), decrypt_only, "here") == DATA
    assert orjson.loads(write_data(DATA, decrypt_only, "here")) == DATA
    assert encryption_key_id(decrypt_only) is None
    with pytest.raises(TypeError, match="decrypts only"):
        decrypt_only.encrypt(b"{}", "here")


def test_an_encrypted_value_without_a_cipher_is_not_taken_for_a_plain_one() -> None:
    with pytest.raises(UnknownKey, match="field 'data' is encrypted with key 'new', and no keys are set here"):
        read_data(write_data(DATA, OF_NEW, "here").encode(), None, "here")


def test_an_encrypted_field_without_text_is_refused() -> None:
    with pytest.raises(DecryptionFailed, match="holds no text"):
        read_data(b'{"$encrypted": 5}', OF_NEW, "here")


def test_a_command_is_encrypted_and_decrypted() -> None:
    message = write_command(command(), NAMES, OF_NEW)
    received = read_command(delivered(message), OF_NEW)
    assert MARKER not in str(message)
    assert received.data == {**DATA, "outputs": {"reserve": {"at": MARKER}}}
    assert orjson.loads(received.data_json) == received.data


@pytest.mark.parametrize("other", [command(attempt=2), command(saga_id=OTHER_SAGA)])
def test_a_commands_data_fits_no_other_command(other: Command) -> None:
    moved = with_data_of(write_command(other, NAMES, OF_NEW), write_command(command(), NAMES, OF_NEW))
    received = read_command(delivered(moved), OF_NEW)
    assert (received.data, received.data_json) == ({}, b"{}")
    assert received.decryption_error is not None
    assert "it belongs elsewhere" in received.decryption_error


def reply(attempt: int = 1, cipher: Cipher | None = OF_NEW, step: str = "charge") -> Message:
    return write_success(NAMES.replies, command_id(SAGA_ID, step, Direction.ACTION, attempt), SAGA_ID, DATA, cipher)


def test_a_reply_is_encrypted_and_decrypted() -> None:
    assert MARKER not in str(reply())
    assert read_reply(delivered(reply()), OF_NEW) == Replied(CHARGE, Outcome.SUCCEEDED, output=DATA)


def test_a_plain_reply_is_taken_in_too() -> None:
    assert read_reply(delivered(reply(cipher=None)), OF_NEW).output == DATA


def test_a_recorded_result_answers_every_attempt_and_no_other_step() -> None:
    assert read_reply(delivered(with_data_of(reply(2), reply(1))), OF_NEW).output == DATA
    with pytest.raises(DecryptionFailed):
        read_reply(delivered(with_data_of(reply(step="ship"), reply())), OF_NEW)


def test_a_recorded_result_answers_the_question_whether_it_happened() -> None:
    probe = command_id(SAGA_ID, "charge", Direction.PROBE, 1)
    asked = write_success(NAMES.replies, probe, SAGA_ID, {}, OF_NEW)
    assert read_reply(delivered(with_data_of(asked, reply())), OF_NEW).output == DATA


def test_a_childs_start_and_its_answer_are_encrypted_and_decrypted() -> None:
    child = saga_id_of_child("order", CHARGE)
    start = write_child_request(ChildRequest(ChildOperation.START, child, "order", CHARGE, DATA, None), NAMES, OF_NEW)
    answer = write_parent_reply(ParentReply(CHARGE, Outcome.SUCCEEDED, DATA, None), NAMES, OF_NEW)
    begun = read_event(delivered(start), CATALOG, OF_NEW)
    assert MARKER not in str(start) + str(answer)
    assert isinstance(begun, Started)
    assert (begun.saga_id, begun.input) == (child, DATA)
    assert read_reply(delivered(answer), OF_NEW).output == DATA


def test_a_child_that_cannot_be_decrypted_is_refused_to_its_parent() -> None:
    start = write_child_request(ChildRequest(ChildOperation.START, SAGA_ID, "order", CHARGE, DATA, None), NAMES, OF_OLD)
    refusal = read_event(delivered(start), CATALOG, OF_NEW)
    assert isinstance(refusal, Replied)
    assert refusal.fault is not None
    assert (refusal.outcome, refusal.fault.code) == (Outcome.REJECTED, "encrypted_input")


def test_the_rejection_of_an_encrypted_input_shows_no_value() -> None:
    request = ChildRequest(ChildOperation.START, SAGA_ID, "order", CHARGE, {"amount": MARKER}, None)
    refusal = read_event(delivered(write_child_request(request, NAMES, OF_NEW)), CATALOG, OF_NEW)
    assert isinstance(refusal, Replied)
    assert refusal.fault is not None
    assert (
        refusal.fault.message
        == "the input does not fit saga 'order': the values are not shown, because the data is encrypted"
    )


def test_an_outcome_is_encrypted_for_whoever_has_the_key() -> None:
    ended = Ended(SAGA_ID, "order", "order-1", SagaStatus.COMPLETED, 7, 1, {"charge": DATA}, None, None)
    encrypted = data_of(write_outcome(ended, NAMES, OF_NEW))
    assert orjson.loads(decrypt_value(encrypted, OF_NEW, OUTCOME, f"{SAGA_ID}:7")) == {"charge": DATA}


def test_a_start_that_a_producer_encrypted_is_decrypted() -> None:
    data = encrypt_event_data(OF_NEW, "order", DATA, key="A-17")
    begun = read_event(entry({"type": "order", "subject": "A-17", "data": data}), CATALOG, OF_NEW)
    assert isinstance(begun, Started)
    assert (begun.key, begun.input) == ("A-17", DATA)


def test_a_start_without_a_subject_has_its_key_from_what_is_encrypted() -> None:
    message = write_event(NAMES.events, "order", {"order_id": "A-17", "name": MARKER}, cipher=OF_NEW)
    begun = read_event(delivered(message), CATALOG, OF_NEW)
    assert MARKER not in str(message)
    assert isinstance(begun, Started)
    assert begun.key == "A-17"


def test_a_start_fits_no_other_key() -> None:
    data = encrypt_event_data(OF_NEW, "order", DATA, key="A-17")
    with pytest.raises(DecryptionFailed, match="it belongs elsewhere"):
        read_event(entry({"type": "order", "subject": "A-18", "data": data}), CATALOG, OF_NEW)


@pytest.mark.parametrize(
    "address",
    [{"subject": "A-17", "saga": "order"}, {"saga_id": SAGA_ID.upper()}, {"saga_id": SAGA_ID, "subject": "A-17"}],
)
def test_a_signal_is_bound_to_the_saga_that_it_is_addressed_to(address: dict[str, str]) -> None:
    data = encrypt_event_data(OF_NEW, "approved", DATA, key=address.get("subject"), saga_id=address.get("saga_id"))
    signalled = read_event(entry({"type": "approved", "data": data, **address}), CATALOG, OF_NEW)
    assert isinstance(signalled, Signalled)
    assert signalled.data == DATA
    with pytest.raises(DecryptionFailed):
        read_event(entry({"type": "denied", "data": data, **address}), CATALOG, OF_NEW)


def test_the_output_of_a_resolved_step_may_be_encrypted() -> None:
    data = encrypt_event_data(OF_NEW, "saga.resolve", DATA, saga_id=SAGA_ID)
    fields = {"type": "saga.resolve", "saga_id": SAGA_ID, "step": "charge", "resolution": "succeeded", "data": data}
    asked = read_event(entry(fields), CATALOG, OF_NEW)
    assert isinstance(asked, OperationRequested)
    assert asked.output == DATA


Decode = Callable[[Message], DeadLetter]


@pytest.fixture
def decode() -> Decode:
    decoder = Decoder(CATALOG, NAMES, 10_000, OF_NEW)

    def dead_letter_of(message: Message) -> DeadLetter:
        result = decoder.decode(replace(delivered(message), stream=message.stream), 1)
        assert isinstance(result, DeadLetter)
        return result

    return dead_letter_of


def test_a_start_with_an_unknown_key_is_a_dead_letter_to_replay(decode: Decode) -> None:
    message = write_event(NAMES.events, "order", DATA, key="A-17", cipher=OF_OLD)
    letter = decode(message)
    assert letter.reason == "field 'data' is encrypted with key 'old', which is not known here; known keys: new"
    kept = dict(raw_pairs(letter.raw))[b"data"]
    assert OF_BOTH.decrypt(orjson.loads(kept)["$encrypted"], "event\0order\0A-17") == orjson.dumps(DATA)


def test_a_reply_that_is_encrypted_with_an_unknown_key_is_a_dead_letter(decode: Decode) -> None:
    assert "is encrypted with key 'old'" in decode(reply(cipher=OF_OLD)).reason


def test_the_reason_for_encrypted_data_that_does_not_fit_shows_no_value(decode: Decode) -> None:
    letter = decode(write_event(NAMES.events, "order", {"amount": MARKER}, cipher=OF_NEW))
    assert "the values are not shown, because the data is encrypted" in letter.reason
    assert MARKER not in str(letter)


def test_of_plain_data_that_does_not_fit_everything_is_told(decode: Decode) -> None:
    letter = decode(write_event(NAMES.events, "order", {"amount": MARKER}))
    assert letter.reason.endswith("amount: must be a whole number")


class Panicking:
    """A team's own cipher, with a bug that is no `Exception`."""

    def encrypt(self, plain: bytes, context: str) -> str:
        return f"mine.{plain.decode()}"

    def decrypt(self, text: str, context: str) -> bytes:
        raise SystemExit("a secret")


def test_whatever_a_cipher_raises_concerns_its_value_alone_and_tells_no_secret() -> None:
    written = encrypt_value({"a": 1}, Panicking(), "event")
    with pytest.raises(DecryptionFailed) as failed:
        decrypt_value(written, Panicking(), "event")
    assert str(failed.value) == "cannot be decrypted: the cipher raised SystemExit"
