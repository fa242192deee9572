"""Whatever anybody adds to a stream gets a clear answer, and what is good beside it goes on."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from uuid import uuid4

import asyncpg
import orjson
import pytest
import redis

from saga_service.core.ids import saga_id_from_key
from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System

UNKNOWN_SAGA = "00000000-0000-8000-8000-000000000000"
DEEP = b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
RATHER_DEEP = b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"

BAD_EVENTS: dict[str, tuple[Mapping[bytes | str, bytes | str], str]] = {
    "only a field that nobody knows": ({"hello": "world"}, "field 'type' is missing or empty"),
    "an empty name and an empty value": ({"": ""}, "field 'type' is missing or empty"),
    "an unknown type": (
        {"type": "tripp", "data": "{}"},
        "no saga is started by an event of type 'tripp', and none waits",
    ),
    "broken JSON": ({"type": "trip", "data": '{"trip": '}, "field 'data' is not valid JSON"),
    "JSON that is no object": ({"type": "trip", "data": "[1]"}, "field 'data' must be a JSON object, but is an array"),
    "not the input that the saga has": ({"type": "trip", "data": '{"tripp": "x"}'}, "trip: is missing"),
    "2 MB": (
        {"type": "trip", "data": b'{"trip": "big", "x": "%s"}' % (b"x" * 2_000_000)},
        "raise SAGA_ENTRY_BYTES_MAX",
    ),
    "10,000 levels": ({"type": "trip", "data": DEEP}, "field 'data'"),
    "200 levels": ({"type": "trip", "data": RATHER_DEEP}, "nested more than 100 levels deep"),
    "a NUL": ({"type": "trip", "data": b'{"trip": "a\x00b"}'}, "field 'data' is not valid JSON"),
    "an escaped NUL": ({"type": "trip", "data": '{"trip": "a\\u0000b"}'}, "holds a NUL character"),
    "a NUL in the type": ({"type": b"tr\x00ip"}, "field 'type' holds a NUL character"),
    "a NUL in the key": ({"type": "trip", "subject": b"a\x00b", "data": '{"trip": "x"}'}, "'subject' holds a NUL"),
    "invalid UTF-8 in the type": ({"type": b"tr\xffip"}, "field 'type' is not valid UTF-8"),
    "invalid UTF-8 in the data": ({"type": "trip", "data": b'{"trip": "\xff\xfe"}'}, "field 'data' is not valid JSON"),
    "half a surrogate pair": ({"type": "trip", "data": '{"trip": "\\ud800"}'}, "field 'data' is not valid JSON"),
    "a saga id that is none": ({"type": "trip", "saga_id": "17", "data": '{"trip": "x"}'}, "must be a UUID"),
    "a key of 501 characters": (
        {"type": "trip", "subject": "k" * 501, "data": '{"trip": "x"}'},
        "has 501 characters, and a key may have 500",
    ),
    "a number that no float holds": ({"type": "trip", "data": '{"trip": "x", "n": 1e999}'}, "would lose digits"),
    "a name that is ours": ({"type": "trip", "data": '{"trip": "x", "outputs": {}}'}, "outputs: is reserved"),
}

BAD_REQUESTS: dict[str, tuple[Mapping[bytes | str, bytes | str], str]] = {
    "not the fields that the saga has": ({"hello": "world"}, "robot_count: is missing"),
    "text for a number": ({"robot_count": "two", "area": "ZoneA"}, "robot_count"),
    "a number too small": ({"robot_count": "0", "area": "ZoneA"}, "robot_count"),
    "a number of 5,000 digits": ({"robot_count": "9" * 5_000, "area": "ZoneA"}, "robot_count"),
    "a NUL": ({"robot_count": "2", "area": b"Zone\x00A"}, "field 'area' holds a NUL character"),
    "invalid UTF-8": ({"robot_count": "2", "area": b"Zone\xff"}, "field 'area' is not valid UTF-8"),
    "a name of invalid UTF-8": ({"robot_count": "2", "area": "A", b"\xff": "x"}, "not valid UTF-8"),
    "2 MB": ({"robot_count": "2", "area": "A" * 2_000_000}, "raise SAGA_ENTRY_BYTES_MAX"),
}

BAD_REPLIES: dict[str, tuple[Mapping[bytes | str, bytes | str], str]] = {
    "only a field that nobody knows": ({"hello": "world"}, "field 'command_id' is missing or empty"),
    "no id of a command": ({"command_id": "17", "outcome": "succeeded"}, "is not the id of a command"),
    "an unknown saga": (
        {"command_id": f"{UNKNOWN_SAGA}:flight:action:1", "outcome": "succeeded"},
        f"no saga with the id {UNKNOWN_SAGA} is known",
    ),
    "an unknown outcome": ({"command_id": f"{UNKNOWN_SAGA}:f:action:1", "outcome": "done"}, "must be one of succeeded"),
    "broken data": (
        {"command_id": f"{UNKNOWN_SAGA}:f:action:1", "outcome": "succeeded", "data": "{"},
        f"no saga with the id {UNKNOWN_SAGA} is known",
    ),
    "10,000 levels": (
        {"command_id": f"{UNKNOWN_SAGA}:f:action:1", "outcome": "succeeded", "data": DEEP},
        f"no saga with the id {UNKNOWN_SAGA} is known",
    ),
    "an outcome for nobody, whose error cannot be read": (
        {"command_id": f"{UNKNOWN_SAGA}:f:action:1", "outcome": "failed", "error": b"\xff"},
        f"no saga with the id {UNKNOWN_SAGA} is known",
    ),
    "2 MB": (
        {
            "command_id": f"{UNKNOWN_SAGA}:f:action:1",
            "outcome": "succeeded",
            "data": b'{"x": "%s"}' % (b"x" * 2_000_000),
        },
        f"no saga with the id {UNKNOWN_SAGA} is known",
    ),
}


async def _refused(system: System, stream: str, fields: Mapping[bytes | str, bytes | str], reason: str) -> None:
    """The entry becomes a dead letter with this reason and just as it came, between two sagas that complete."""
    before, after = (f"{when} {stream} {hash(str(fields))}" for when in ("before", "after"))
    system.start_saga("trip", before)
    entry_id = system.add(stream, fields)
    system.start_saga("trip", after)
    letter = await system.dead_letter(stream, entry_id, within_s=30)
    assert reason in letter["reason"]
    assert "internal error" not in letter["reason"]
    assert _raw(letter) == [(_octets(name), _octets(value)) for name, value in fields.items()]
    await system.until(before, "completed")
    await system.until(after, "completed")


def _raw(letter: asyncpg.Record) -> list[tuple[bytes, bytes]]:
    return [(base64.b64decode(name), base64.b64decode(value)) for name, value in json.loads(letter["raw"])]


def _octets(given: bytes | str) -> bytes:
    return given if isinstance(given, bytes) else given.encode()


async def test_redis_itself_refuses_an_entry_without_fields(standing: System) -> None:
    with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
        standing.redis.execute_command("XADD", standing.names.events, "*")


@pytest.mark.parametrize("case", BAD_EVENTS)
async def test_a_bad_event_is_a_dead_letter(standing: System, case: str) -> None:
    await _refused(standing, standing.names.events, *BAD_EVENTS[case])


@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_a_bad_entry_of_a_foreign_stream_is_a_dead_letter(standing: System, case: str) -> None:
    await _refused(standing, "saga_requests", *BAD_REQUESTS[case])


@pytest.mark.parametrize("case", BAD_REPLIES)
async def test_a_bad_reply_is_a_dead_letter(standing: System, case: str) -> None:
    await _refused(standing, standing.names.replies, *BAD_REPLIES[case])


async def test_a_reply_to_a_command_that_was_never_sent_is_a_dead_letter(standing: System) -> None:
    saga_id = saga_id_from_key("trip", "never-sent")
    standing.start_saga("trip", "never-sent", plan={"flight": ["sleep 1000"]})
    await standing.until("never-sent", "running")
    for name, reason in {
        "flight:action:2": "action 2 of step 'flight' was never sent (1 attempts were)",
        "hotel:action:1": "action 1 of step 'hotel' was never sent (0 attempts were)",
        "flight:compensation:1": "compensation 1 of step 'flight' was never sent (0 attempts were)",
        "bus:action:1": "saga 'trip' has no step 'bus'",
    }.items():
        reply = {"command_id": f"{saga_id}:{name}", "saga_id": saga_id, "outcome": "succeeded"}
        letter = await standing.dead_letter(standing.names.replies, standing.add(standing.names.replies, reply))
        assert letter["reason"] == reason
    await standing.until("never-sent", "completed")
    assert len(await standing.history("never-sent")) == 5


async def test_a_reply_with_the_wrong_saga_id_is_a_dead_letter(standing: System) -> None:
    saga_id = saga_id_from_key("trip", "wrong-saga-id")
    standing.start_saga("trip", "wrong-saga-id", plan={"flight": ["sleep 500"]})
    await standing.until("wrong-saga-id", "running")
    reply = {"command_id": f"{saga_id}:flight:action:1", "saga_id": UNKNOWN_SAGA, "outcome": "rejected"}
    letter = await standing.dead_letter(standing.names.replies, standing.add(standing.names.replies, reply))
    assert letter["reason"] == f"field 'saga_id' is '{UNKNOWN_SAGA}', but the command belongs to saga {saga_id}"
    await standing.until("wrong-saga-id", "completed")


async def test_the_same_reply_twice_is_no_dead_letter_and_changes_nothing(standing: System) -> None:
    standing.start_saga("trip", "reply-twice")
    saga = await standing.until("reply-twice", "completed")
    letters = await standing.value("select count(*) from saga.dead_letters")
    for step in ("flight", "hotel", "car", "invoice"):
        reply = {"command_id": f"{saga['id']}:{step}:action:1", "saga_id": str(saga["id"]), "outcome": "succeeded"}
        standing.add(standing.names.replies, reply)
        standing.add(standing.names.replies, {**reply, "outcome": "failed"})
    standing.start_saga("trip", "after-reply-twice")
    await standing.until("after-reply-twice", "completed")
    again = await standing.until("reply-twice", "completed")
    assert dict(again) == dict(saga)
    assert await standing.value("select count(*) from saga.dead_letters") == letters


async def test_what_is_no_command_goes_from_the_worker_to_the_dead_letters(standing: System) -> None:
    stream = standing.names.commands("travel")
    for fields, reason in (
        ({"hello": "world"}, "field 'id' is missing or empty"),
        ({"id": "17", "type": "travel.flight"}, "field 'id' is not the id of a command: '17'"),
        ({b"\xff\x00": b"\x00\xff"}, "field 'id' is missing or empty"),
    ):
        letter = await standing.dead_letter(stream, standing.add(stream, fields))
        assert letter["reason"] == reason
        assert _raw(letter) == [(_octets(name), _octets(value)) for name, value in fields.items()]


async def test_what_is_no_dead_letter_on_the_stream_of_dead_letters_is_one_now(standing: System) -> None:
    stream = standing.names.dead_letters
    for fields in (
        {"hello": "world"},
        {"stream": "s", "entry_id": "1-1", "reason": "r", "time": "1", "fields": "{", "raw": "["},
    ):
        added = standing.add(stream, fields)
        await standing.dead_letter(stream, added)
    assert standing.entries(stream)[-1][0] == added, "it is not added to its own stream once more"


async def test_a_start_with_the_saga_id_of_another_saga_is_a_dead_letter(standing: System) -> None:
    standing.start_saga("trip", "whose-id")
    saga = await standing.until("whose-id", "completed")
    event = {"type": "by-hand", "saga_id": str(saga["id"])}
    letter = await standing.dead_letter(standing.names.events, standing.add(standing.names.events, event))
    assert letter["reason"] == f"the saga {saga['id']} is there already; its name is 'trip', not 'by-hand'"


async def test_a_start_with_a_key_and_the_id_of_another_saga_is_a_dead_letter(standing: System) -> None:
    """A key has one saga."""
    event = {"type": "trip", "saga_id": str(uuid4()), "data": orjson.dumps({"trip": "takes-an-id"})}
    letter = await standing.dead_letter(standing.names.events, standing.add(standing.names.events, event))
    assert "the saga 'trip' with the key 'takes-an-id' has the id" in letter["reason"]


async def test_everything_above_was_lawful(standing: System) -> None:
    sagas = await standing.value("select count(*) from saga.sagas")
    letters = await standing.value("select count(*) from saga.dead_letters")
    assert sagas > 0
    await assert_lawful(standing, sagas, dead_letters=letters, foreign_streams=("saga_requests",))
    on_stream = {
        (letter["stream"], letter["entry_id"])
        for _, letter in standing.entries(standing.names.dead_letters)
        if "stream" in letter
    }
    rows = await standing.fetch(
        "select stream, entry_id from saga.dead_letters where stream <> $1", standing.names.dead_letters
    )
    assert {(row["stream"], row["entry_id"]) for row in rows} <= on_stream, "others can read them on their stream"
