"""Replies of workers in any language and of any quality."""

from __future__ import annotations

import pytest

from saga_service.core.events import Replied
from saga_service.core.ids import CommandId, CommandName, SagaId
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.replies import (
    ERROR_CODE_CHARACTERS_MAX,
    ERROR_MESSAGE_CHARACTERS_MAX,
    RETRY_AFTER_MS_MAX,
    read_reply,
    write_failure,
    write_progress,
    write_success,
    write_success_without_output,
)
from tests.support.builders import delivered, entry

SAGA_ID = SagaId("0192f0c1-2345-8abc-9def-0123456789ab")
OTHER_SAGA_ID = SagaId("0192f0c1-2345-8abc-9def-0123456789ac")
COMMAND_ID = CommandId(f"{SAGA_ID}:charge:action:2")
COMMAND = CommandName(SAGA_ID, "charge", Direction.ACTION, 2)
_NO_REASON, _IGNORED = "the worker gave no reason", "a part of the field 'error' was ignored:"
SAID = {"command_id": COMMAND_ID, "saga_id": SAGA_ID, "outcome": "succeeded"}


def _read(**fields: bytes | str) -> Replied:
    return read_reply(entry({**SAID, **fields}, "saga:replies"))


def _complaint(**fields: bytes | str) -> str:
    with pytest.raises(Malformed) as raised:
        _read(**fields)
    return str(raised.value)


def test_a_success_is_read_as_it_was_written() -> None:
    message = write_success("saga:replies", COMMAND_ID, SAGA_ID, {"payment": 7})
    assert message.stream == "saga:replies"
    assert read_reply(delivered(message)) == Replied(COMMAND, Outcome.SUCCEEDED, output={"payment": 7})


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED])
@pytest.mark.parametrize("retry_after_ms", [None, 0, 1_500, RETRY_AFTER_MS_MAX])
def test_a_failure_is_read_as_it_was_written(outcome: Outcome, retry_after_ms: int | None) -> None:
    fault = Fault("declined", 'no "money" {left}\n')
    message = write_failure("saga:replies", COMMAND_ID, SAGA_ID, outcome, fault, retry_after_ms)
    assert read_reply(delivered(message)) == Replied(COMMAND, outcome, fault=fault, retry_after_ms=retry_after_ms)


def test_progress_is_read_as_it_was_written() -> None:
    assert read_reply(delivered(write_progress("r", COMMAND_ID, SAGA_ID))) == Replied(COMMAND, Outcome.PROGRESS)


def test_the_least_that_a_worker_must_say() -> None:
    fields = {"command_id": COMMAND_ID, "outcome": "succeeded"}
    assert read_reply(entry(fields)) == Replied(COMMAND, Outcome.SUCCEEDED, output={})


def test_the_saga_id_may_be_in_upper_case() -> None:
    assert _read(saga_id=SAGA_ID.upper()).saga_id == SAGA_ID


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ("", Fault("failed", "the worker gave no reason")),
        ("no money", Fault("failed", "no money")),
        ('"no money"', Fault("failed", '"no money"')),
        ("{}", Fault("failed", "the worker gave no reason")),
        (' {"code": "declined"}', Fault("declined", "the worker gave no reason")),
        ('{"message": "no money"}', Fault("failed", "no money")),
        ('{"code": null, "message": null}', Fault("failed", "the worker gave no reason")),
        ('{"code": 402, "message": 7}', Fault("402", "7")),
        ('{"code": "a", "message": "b", "stack": ["c"]}', Fault("a", "b")),
    ],
)
def test_an_error_may_be_json_or_plain_text(error: str, fault: Fault) -> None:
    assert _read(outcome="failed", error=error) == Replied(COMMAND, Outcome.FAILED, fault=fault)


@pytest.mark.parametrize("error", ["m" * 500_000, f'{{"code": "{"c" * 500_000}", "message": "{"m" * 500_000}"}}'])
def test_an_error_that_is_too_long_is_shortened(error: str) -> None:
    fault = _read(outcome="failed", error=error).fault
    assert fault is not None
    assert len(fault.code) <= ERROR_CODE_CHARACTERS_MAX
    assert len(fault.message) == ERROR_MESSAGE_CHARACTERS_MAX
    assert fault.message.endswith("m…")


def test_an_error_may_be_left_out() -> None:
    assert _read(outcome="rejected").fault == Fault("failed", "the worker gave no reason")


def test_a_success_may_have_an_error_field_and_a_failure_data() -> None:
    assert _read(error=b"\xff").outcome is Outcome.SUCCEEDED
    assert _read(outcome="failed", data="{").outcome is Outcome.FAILED
    assert _read(outcome="progress", data="{", error="{").outcome is Outcome.PROGRESS


@pytest.mark.parametrize("missing", ["command_id", "outcome"])
def test_what_is_missing_is_named(missing: str) -> None:
    fields = {name: value for name, value in SAID.items() if name != missing}
    with pytest.raises(Malformed, match=rf"^field '{missing}' is missing or empty$"):
        read_reply(entry(fields))


def test_an_entry_without_fields_is_no_reply() -> None:
    with pytest.raises(Malformed, match=r"^field 'command_id' is missing or empty$"):
        read_reply(Entry("saga:replies", "1-0", {}))


@pytest.mark.parametrize(
    "command_id",
    [
        "charge",
        SAGA_ID,
        f"{SAGA_ID}:charge:action",
        f"{SAGA_ID}:charge:action:0",
        f"{SAGA_ID}:charge:action:01",
        f"{SAGA_ID}:charge:action:-1",
        f"{SAGA_ID}:charge:action:" + "9" * 5_000,
        f"{SAGA_ID}:charge:undo:1",
        f"{SAGA_ID}::action:1",
        f"{SAGA_ID.upper()}:charge:action:1",
        f"{SAGA_ID}:charge:action:1\n",
        "no-uuid:charge:action:1",
    ],
)
def test_a_command_id_that_is_none_is_quoted(command_id: str) -> None:
    assert _complaint(command_id=command_id) == f"field 'command_id' is not the id of a command: '{command_id[:200]}'"


def test_a_reply_with_the_wrong_saga_id_is_nobodys() -> None:
    assert _complaint(saga_id=OTHER_SAGA_ID) == (
        f"field 'saga_id' is '{OTHER_SAGA_ID}', but the command belongs to saga {SAGA_ID}"
    )
    assert "but the command belongs to" in _complaint(saga_id="x" * 10_000)


@pytest.mark.parametrize("outcome", ["done", "Succeeded", "succeeded ", "SUCCEEDED", "x" * 10_000])
def test_an_outcome_that_nobody_knows_is_told_the_known_ones(outcome: str) -> None:
    assert _complaint(outcome=outcome) == (
        f"field 'outcome' must be one of succeeded, failed, rejected, unknown, progress, but is '{outcome[:100]}'"
    )


@pytest.mark.parametrize("name", ["command_id", "saga_id", "outcome"])
@pytest.mark.parametrize("value", [b"a\xff", b"a\x00"])
def test_a_field_must_be_text(name: str, value: bytes) -> None:
    assert _complaint(**{name: value}).startswith(f"field '{name}' ")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object, but is an array"),
        ('{"a":' * 10_000, "depth limit exceeded"),
        ('{"a":' * 101 + "1" + "}" * 101, "levels deep"),
        ('{"a": "\\u0000"}', "NUL"),
        (b'{"a": "\xff"}', "not valid JSON"),
        ('{"a": "\\ud800"}', "not valid JSON"),
    ],
)
def test_a_success_whose_data_cannot_be_read_counts_and_says_why(data: bytes | str, complaint: str) -> None:
    reply = _read(data=data)
    assert (reply.outcome, reply.output) == (Outcome.SUCCEEDED, {})
    assert reply.fault is not None
    assert reply.fault.code == "invalid_output"
    assert reply.fault.message.startswith("the output of step 'charge': field 'data' ")
    assert complaint in reply.fault.message


@pytest.mark.parametrize("data", ["{", '{"a": 1}'])
def test_the_outcome_of_a_reply_that_is_too_large_counts_and_nothing_else_of_it_is_read(data: str) -> None:
    told = "the entry has 9 bytes, more than the 8 allowed"

    def read(**fields: str) -> Replied:
        return read_reply(entry({**SAID, "data": data, "error": data, **fields}, "saga:replies"), None, told)

    assert read() == Replied(COMMAND, Outcome.SUCCEEDED, output={}, fault=Fault("message_too_large", told))
    assert read(outcome="progress") == Replied(COMMAND, Outcome.PROGRESS)
    failed = Replied(COMMAND, Outcome.REJECTED, fault=Fault("failed", f"its error was not read: {told}"))
    assert read(outcome="rejected") == failed


def test_a_success_that_says_why_it_has_no_output_is_read_as_it_was_written() -> None:
    fault = Fault("message_too_large", "the outputs are too large")
    message = write_success_without_output("saga:replies", COMMAND_ID, SAGA_ID, fault)
    assert read_reply(delivered(message)) == Replied(COMMAND, Outcome.SUCCEEDED, output={}, fault=fault)


@pytest.mark.parametrize("error", ["", "none", "{}", '{"code": "warning", "message": "slow"}'])
def test_an_error_beside_a_success_is_not_read(error: str) -> None:
    assert _read(error=error) == Replied(COMMAND, Outcome.SUCCEEDED, output={})
    large = '{"code": "message_too_large"}'
    assert _read(data='{"a": 1}', error=large) == Replied(COMMAND, Outcome.SUCCEEDED, output={"a": 1})


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (b"a\x00b", "failed", "a\\x00b"),
        (b"\xff!", "failed", "\\xff!"),
        ('{"code": "a\\u0000", "message": "\\u0000b"}', "a\\x00", "\\x00b"),
        (b'{"code": "declined", "message": "caf\xe9"}', "declined", "caf\N{REPLACEMENT CHARACTER}"),
        ('{"code": "a", "code": "b", "message": "c", "balance": 1e-400}', "b", "c"),
        ('{"code": "a", "message": "b", "trace": ' + "[" * 200 + "]" * 200 + "}", "a", "b"),
        ("{", "failed", "{ (a part of the field 'error' was ignored: it is not valid JSON)"),
        (b"{\xff", "failed", "{\\xff (a part of the field 'error' was ignored: it is not valid JSON)"),
        ('{"code": "a", "message": ["b"]}', "a", f"{_NO_REASON} ({_IGNORED} 'message' is no text)"),
        ('{"code": {}, "message": "b"}', "failed", f"b ({_IGNORED} 'code' is no text)"),
    ],
    ids=ascii,
)
def test_an_outcome_counts_whatever_is_wrong_with_its_error(
    outcome: Outcome, error: bytes | str, code: str, message: str
) -> None:
    assert _read(outcome=outcome.value, error=error) == Replied(COMMAND, outcome, fault=Fault(code, message))


@pytest.mark.parametrize("error", ['{"a":' * 10_000, "{" + "x" * 10_000, b'{"message": "' + b"\xff" * 10_000 + b'"}'])
def test_an_error_of_any_depth_or_length_costs_no_reply(error: bytes | str) -> None:
    fault = _read(outcome="rejected", error=error).fault
    assert fault is not None
    assert len(fault.message) <= ERROR_MESSAGE_CHARACTERS_MAX


@pytest.mark.parametrize(
    "delay",
    ["-1", "1.5", "true", '"1500"', "[]", str(RETRY_AFTER_MS_MAX + 1), "1e3", "1_500", "NaN", "9" * 30, "9" * 400],
)
def test_a_wish_for_a_wait_that_is_none_is_ignored_and_the_message_says_so(delay: str) -> None:
    event = _read(outcome="failed", error='{"code": "busy", "message": "later", "retry_after_ms": ' + delay + "}")
    assert event.outcome is Outcome.FAILED
    assert event.retry_after_ms is None
    assert event.fault is not None
    assert (event.fault.code == "busy") is (delay not in ("1_500", "NaN", "9" * 400))
    assert "later" in event.fault.message
    assert "a part of the field 'error' was ignored" in event.fault.message


def test_an_undo_counts_whatever_data_comes_with_it() -> None:
    fields = {"command_id": f"{SAGA_ID}:charge:compensation:1", "outcome": "succeeded", "data": "{"}
    assert read_reply(entry(fields)).outcome is Outcome.SUCCEEDED


def test_a_reply_of_the_right_form_is_read_whoever_it_names() -> None:
    """The wire does not know which sagas there are, or which commands were sent."""
    event = read_reply(entry({"command_id": f"{OTHER_SAGA_ID}:teleport:compensation:7", "outcome": "succeeded"}))
    assert event.command == CommandName(OTHER_SAGA_ID, "teleport", Direction.COMPENSATION, 7)
