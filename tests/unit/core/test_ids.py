"""Identifiers follow from what they name, and only what was made by us is read as ours."""

from __future__ import annotations

from uuid import UUID

import pytest

from saga_service.core.ids import (
    CommandName,
    SagaId,
    command_id,
    idempotency_key,
    parse_command_id,
    parse_saga_id,
    saga_id_from_entry,
    saga_id_from_event,
    saga_id_from_key,
)
from saga_service.core.vocabulary import Direction

SAGA_ID = SagaId("0192f0c1-2345-8abc-9def-0123456789ab")
COMMAND_ID = f"{SAGA_ID}:charge:action:1"


def test_the_same_name_always_gives_the_same_id() -> None:
    """These very values are in people's databases: a change here would start their sagas a second time."""
    assert saga_id_from_key("order", "order-1") == "f1dd77f1-848a-8c2a-9af9-16113c4c91ee"
    assert saga_id_from_event("order", "order-1") == "76fbab9e-7348-8e7a-b923-52891acdab15"
    assert saga_id_from_entry("order", "saga:events", "1700000000000-0") == "018bcfe5-6800-86ae-9c87-231122ed1ad7"


def test_a_key_an_event_and_an_entry_of_the_same_text_name_different_sagas() -> None:
    text = "1700000000000-0"
    ids = {saga_id_from_key("order", text), saga_id_from_event("order", text), saga_id_from_entry("order", "s", text)}
    assert len(ids) == 3


def test_the_same_key_in_two_kinds_of_saga_names_two_sagas() -> None:
    assert saga_id_from_key("order", "7") != saga_id_from_key("refund", "7")


def test_where_one_part_ends_and_the_next_begins_makes_a_difference() -> None:
    assert saga_id_from_key("a", "bc") != saga_id_from_key("ab", "c")
    assert saga_id_from_key("a", "2:bc") != saga_id_from_key("a2:", "bc")
    assert saga_id_from_entry("order", "s1", "1-0") != saga_id_from_entry("order", "s", "1-0")


def test_an_entry_of_another_stream_or_another_number_names_another_saga() -> None:
    ids = {
        saga_id_from_entry("order", stream, entry_id)
        for stream in ("orders", "returns")
        for entry_id in ("1700-0", "1700-1", "1701-0")
    }
    assert len(ids) == 6


@pytest.mark.parametrize(
    "saga_id",
    [
        saga_id_from_key("order", ""),
        saga_id_from_key("order", "Ümläut \N{PILE OF POO}"),
        saga_id_from_event("order", "x" * 100_000),
        saga_id_from_entry("order", "s", "0-1"),
        saga_id_from_entry("order", "s", "18446744073709551615-18446744073709551615"),
    ],
)
def test_every_saga_id_is_a_uuid_of_version_8_in_its_canonical_form(saga_id: SagaId) -> None:
    parsed = UUID(saga_id)
    assert str(parsed) == saga_id
    assert parsed.version == 8
    assert parsed.variant == "specified in RFC 4122"
    assert parse_saga_id(saga_id) == saga_id


def test_ids_of_later_entries_sort_after_those_of_earlier_ones() -> None:
    moments_ms = [0, 1, 255, 256, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1]
    ids = [saga_id_from_entry("order", "s", f"{moment_ms}-0") for moment_ms in moments_ms]
    assert ids == sorted(ids)
    assert [UUID(saga_id).int >> 80 for saga_id in ids] == moments_ms


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("attempt", [1, 10, 999_999_999])
@pytest.mark.parametrize("step", ["charge", "allocate_resources", "Schritt-2", "日本", " "])
def test_a_command_id_names_what_it_was_made_of(step: str, direction: Direction, attempt: int) -> None:
    made = command_id(SAGA_ID, step, direction, attempt)
    assert made == f"{SAGA_ID}:{step}:{direction.value}:{attempt}"
    assert parse_command_id(made) == CommandName(SAGA_ID, step, direction, attempt)


def test_an_idempotency_key_is_the_command_id_without_its_attempt() -> None:
    for attempt in (1, 2):
        made = command_id(SAGA_ID, "charge", Direction.COMPENSATION, attempt)
        assert made.rpartition(":")[0] == idempotency_key(SAGA_ID, "charge", Direction.COMPENSATION)


@pytest.mark.parametrize(
    "near_miss",
    [
        "",
        ":::",
        COMMAND_ID + ":1",
        COMMAND_ID + " ",
        COMMAND_ID + "\n",
        " " + COMMAND_ID,
        COMMAND_ID.upper(),
        f"{SAGA_ID.upper()}:charge:action:1",
        f"{SAGA_ID}::action:1",
        f"{SAGA_ID}:char:ge:action:1",
        f"{SAGA_ID}:charge:Action:1",
        f"{SAGA_ID}:charge:undo:1",
        f"{SAGA_ID}:charge::1",
        f"{SAGA_ID}:charge:action",
        f"{SAGA_ID}:charge:action:",
        f"{SAGA_ID}:charge:action:0",
        f"{SAGA_ID}:charge:action:01",
        f"{SAGA_ID}:charge:action:-1",
        f"{SAGA_ID}:charge:action:+1",
        f"{SAGA_ID}:charge:action:1.0",
        f"{SAGA_ID}:charge:action:1_0",
        f"{SAGA_ID}:charge:action:²",
        f"{SAGA_ID}:charge:action:٣",
        f"{SAGA_ID}:charge:action:１",
        f"{SAGA_ID}:charge:action:1000000000",
        f"{SAGA_ID}:charge:action:" + "9" * 5_000,
        f"{SAGA_ID.replace('-', '')}:charge:action:1",
        f"{{{SAGA_ID}}}:charge:action:1",
        f"urn:uuid:{SAGA_ID}:charge:action:1",
        f"{SAGA_ID}0:charge:action:1",
        f"{SAGA_ID[:-1]}g:charge:action:1",
        f"{SAGA_ID}\n:charge:action:1",
    ],
)
def test_what_is_nearly_a_command_id_is_none(near_miss: str) -> None:
    assert parse_command_id(near_miss) is None


def test_a_saga_id_is_read_in_either_case() -> None:
    assert parse_saga_id(SAGA_ID.upper()) == SAGA_ID


@pytest.mark.parametrize(
    "near_miss",
    [
        "",
        "order-1",
        SAGA_ID + "\n",
        " " + SAGA_ID,
        SAGA_ID.replace("-", ""),
        "{" + SAGA_ID + "}",
        "urn:uuid:" + SAGA_ID,
        SAGA_ID + "0",
        SAGA_ID[:-1],
        SAGA_ID[:-1] + "g",
        SAGA_ID.replace("0", "٠"),
        SAGA_ID.replace("-", "\N{EN DASH}"),
        SAGA_ID.replace("0192f0c1", "0192f0c１"),
    ],
)
def test_what_is_nearly_a_saga_id_is_none(near_miss: str) -> None:
    assert parse_saga_id(near_miss) is None
