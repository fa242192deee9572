"""What is written is read again as it was, whatever its content."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.effects import Command
from saga_service.core.events import Replied, Started
from saga_service.core.ids import (
    CommandId,
    CommandName,
    SagaId,
    command_id,
    parse_command_id,
    parse_saga_id,
    saga_id_from_entry,
    saga_id_from_event,
    saga_id_from_key,
)
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.wire.commands import OUTPUTS_FIELD, read_command, write_command
from saga_service.wire.events import read_event, write_event
from saga_service.wire.fields import MOMENT_MS_MAX
from saga_service.wire.replies import RETRY_AFTER_MS_MAX, read_reply, write_failure, write_progress, write_success
from saga_service.wire.transport import StreamNames
from tests.support.builders import PlainBlueprint, PlainCatalog, definition, delivered

NAMES = StreamNames()
CATALOG = PlainCatalog(PlainBlueprint(definition("reserve")))

# What can be stored: text without NUL and lone surrogates, numbers that JSON can carry.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
some_text = texts.filter(bool)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
saga_ids = st.uuids().map(lambda drawn: SagaId(str(drawn)))
step_names = some_text.filter(lambda name: ":" not in name)
command_names = st.builds(
    CommandName,
    saga_id=saga_ids,
    step=step_names,
    direction=st.sampled_from(Direction),
    attempt=st.integers(1, 999_999_999),
)


def _id(name: CommandName) -> CommandId:
    return command_id(name.saga_id, name.step, name.direction, name.attempt)


@given(name=command_names)
def test_a_command_id_is_read_as_it_was_made(name: CommandName) -> None:
    assert parse_command_id(_id(name)) == name


@given(saga=some_text, text=texts, milliseconds=st.integers(0, 2**64 - 1), sequence=st.integers(0, 2**64 - 1))
def test_every_saga_id_that_is_made_is_one_that_is_read(saga: str, text: str, milliseconds: int, sequence: int) -> None:
    for made in (
        saga_id_from_key(saga, text),
        saga_id_from_event(saga, text),
        saga_id_from_entry(saga, text, f"{milliseconds}-{sequence}"),
    ):
        assert parse_saga_id(made) == made


@given(names=st.lists(st.tuples(texts, texts), min_size=2, max_size=6, unique=True))
def test_different_names_make_different_saga_ids(names: list[tuple[str, str]]) -> None:
    assert len({saga_id_from_key(saga, key) for saga, key in names}) == len(names)


@given(
    name=command_names,
    command_type=some_text,
    deadline_ms=st.integers(0, MOMENT_MS_MAX),
    saga_input=objects,
    outputs=st.dictionaries(step_names, objects, max_size=3),
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)
def test_a_command_is_read_as_it_was_written(
    name: CommandName,
    command_type: str,
    deadline_ms: int,
    saga_input: dict[str, object],
    outputs: dict[str, dict[str, object]],
    traceparent: str | None,
) -> None:
    command = Command(
        type=command_type,
        saga_id=name.saga_id,
        saga="order",
        step=name.step,
        direction=name.direction,
        attempt=name.attempt,
        deadline_ms=deadline_ms,
        input=saga_input,
        outputs=outputs,
        traceparent=traceparent,
    )
    received = read_command(delivered(write_command(command, NAMES)))
    assert received.name == name
    assert (received.id, received.idempotency_key) == (command.id, command.idempotency_key)
    assert (received.type, received.saga, received.saga_id) == (command_type, "order", name.saga_id)
    assert (received.deadline_ms, received.traceparent) == (deadline_ms, traceparent)
    assert received.data == {**saga_input, OUTPUTS_FIELD: outputs}


@given(name=command_names, output=objects)
def test_a_success_is_read_as_it_was_written(name: CommandName, output: dict[str, object]) -> None:
    message = write_success("r", _id(name), name.saga_id, output)
    expected = {} if name.direction is Direction.COMPENSATION else output
    assert read_reply(delivered(message)) == Replied(name, Outcome.SUCCEEDED, output=expected)


@given(
    name=command_names,
    outcome=st.sampled_from([Outcome.FAILED, Outcome.REJECTED]),
    code=some_text,
    message=some_text,
    retry_after_ms=st.none() | st.integers(0, RETRY_AFTER_MS_MAX),
)
def test_a_failure_is_read_as_it_was_written(
    name: CommandName, outcome: Outcome, code: str, message: str, retry_after_ms: int | None
) -> None:
    written = write_failure("r", _id(name), name.saga_id, outcome, Fault(code, message), retry_after_ms)
    assert read_reply(delivered(written)) == Replied(
        name, outcome, fault=Fault(code, message), retry_after_ms=retry_after_ms
    )


@given(name=command_names)
def test_progress_is_read_as_it_was_written(name: CommandName) -> None:
    assert read_reply(delivered(write_progress("r", _id(name), name.saga_id))) == Replied(name, Outcome.PROGRESS)


@given(data=objects, event_id=st.none() | some_text, key=st.none() | some_text)
def test_an_event_is_read_as_it_was_written(data: dict[str, object], event_id: str | None, key: str | None) -> None:
    event = read_event(delivered(write_event("saga:events", "order", data, event_id=event_id, key=key)), CATALOG)
    assert isinstance(event, Started)
    assert (event.input, event.key) == (data, key)
    if key is not None:
        assert event.saga_id == saga_id_from_key("order", key)
    elif event_id is not None:
        assert event.saga_id == saga_id_from_event("order", event_id)
    else:
        assert event.saga_id == saga_id_from_entry("order", "saga:events", "1700-0")
