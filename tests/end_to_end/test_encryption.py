"""Payloads are encrypted wherever they rest or travel, and keys are rotated while sagas run."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from saga_service.core.ids import saga_id_from_event
from saga_service.encryption import EncryptionKey, encrypt_event_data
from saga_service.encryption.aes_gcm import AesGcmCipher
from saga_service.encryption.keys import write_key
from saga_service.wire.encryption import COMMAND, ENCRYPTED, OUTCOME, REPLY, decrypt_value, write_data
from tests.end_to_end.system import System
from tests.support.waiting import eventually

MARKER = "Ada-Lovelace-12-Saint-James-Square"
OLD, NEW = EncryptionKey("old", b"o" * 32), EncryptionKey("new", b"n" * 32)
OLD_ALONE = write_key(OLD)
NEW_THEN_OLD = f"{write_key(NEW)},{write_key(OLD)}"
NEVER_TRIM_MS = "86400000"


@pytest.fixture
async def watched(system: System) -> System:
    """A system that copies every row ever written into `public.written`, even one that lives for milliseconds."""
    tables = await system.fetch("select tablename from pg_tables where schemaname = 'saga_private'")
    await system.fetch("create table public.written (row_text text)")
    await system.fetch(
        "create function public.copy_row() returns trigger language plpgsql as"
        " $$begin insert into public.written values (new::text); return new; end$$"
    )
    for table in tables:
        await system.fetch(
            f"create trigger copied after insert or update on saga_private.{table[0]}"
            " for each row execute function public.copy_row()"
        )
    return system


async def _places_of(marker: str, system: System) -> set[str]:
    """The places where a text was ever seen: the database, and the streams."""
    places = {
        stream
        for stream in system.streams()
        if any(marker in part for _, fields in system.entries(stream) for pair in fields.items() for part in pair)
    }
    rows = await system.value("select count(*) from public.written where row_text like '%' || $1 || '%'", marker)
    return {place.removeprefix(system.names.prefix) for place in places} | ({"database"} if rows else set())


def _start(system: System, key: str, cipher: AesGcmCipher | None, **plan: list[str]) -> None:
    """The first step returns what its plan says, so the marker is in an input and in an output."""
    data = {"trip": key, "passenger": MARKER, "plan": {"flight": [MARKER], **plan}}
    text = orjson.dumps(data).decode() if cipher is None else encrypt_event_data(cipher, "trip", data, key=key)
    system.add(system.names.events, {"type": "trip", "subject": key, "data": text})


async def test_without_keys_payloads_are_found_where_the_next_test_looks(watched: System) -> None:
    await watched.start_in_one(SAGA_TRIM_PERIOD_MS=NEVER_TRIM_MS)
    _start(watched, "plain", None)
    await watched.until("plain", "completed")

    everywhere = {"database", "events", "commands:travel", "commands:rental", "replies", "outcomes"}
    assert await _places_of(MARKER, watched) == everywhere


async def test_with_keys_no_payload_is_found_in_any_row_or_on_any_stream(watched: System) -> None:
    cipher = AesGcmCipher([OLD])
    await watched.start_in_one(SAGA_ENCRYPTION_KEYS=OLD_ALONE, SAGA_TRIM_PERIOD_MS=NEVER_TRIM_MS)
    _start(watched, "done", cipher)
    _start(watched, "undone", cipher, invoice=["reject"])
    watched.add(  # and one that is refused: the reason must not tell what was in it
        watched.names.events,
        {"type": "trip", "data": encrypt_event_data(cipher, "trip", {"trip": [MARKER]})},
    )
    await watched.until("done", "completed")
    await watched.until("undone", "compensated")

    async def letter() -> str:
        reason = await watched.value("select reason from saga.dead_letters")
        assert reason is not None, "not there"
        return str(reason)

    assert "trip; the values are not shown, because the data is encrypted" in await eventually(letter)
    assert await _places_of(MARKER, watched) == set()
    assert "database" in await _places_of("$encrypted", watched)
    shown = await watched.command("show", "done", "--json", SAGA_ENCRYPTION_KEYS=OLD_ALONE)
    story = orjson.loads(shown.out)
    assert (story["saga"]["input"]["passenger"], story["steps"][0]["output"]["verb"]) == (MARKER, MARKER)
    shown = await watched.command("show", "done", "--json")
    assert orjson.loads(shown.out)["saga"]["input"] == "encrypted (key old)"


class ByHand:
    """A saga whose two commands the test carries out itself, as a worker that knows both keys."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.saga_id = str(saga_id_from_event("by-hand", "rotated"))
        self.cipher = AesGcmCipher([NEW, OLD])

    def start(self) -> None:
        data = encrypt_event_data(AesGcmCipher([OLD]), "by-hand", {"passenger": MARKER})
        self.system.add(self.system.names.events, {"type": "by-hand", "id": "rotated", "data": data})

    async def command(self, name: str) -> dict[str, str]:
        async def come() -> dict[str, str]:
            for _, command in self.system.entries(self.system.names.commands("hand")):
                if command["id"] == f"{self.saga_id}:{name}":
                    return command
            raise AssertionError("not there")

        return await eventually(come, what=name)

    def decrypted(self, command: dict[str, str]) -> dict[str, Any]:
        """Any: a JSON object."""
        plain: dict[str, Any] = orjson.loads(
            decrypt_value(orjson.loads(command["data"]), self.cipher, COMMAND, command["id"])
        )
        return plain

    def succeed(self, command: dict[str, str]) -> None:
        data = write_data({"seat": "12A"}, self.cipher, REPLY, command["idempotency_key"])
        self.system.add(command["reply_to"], {"command_id": command["id"], "outcome": "succeeded", "data": data})

    async def until(self, status: str) -> None:
        async def has_come() -> bool:
            found = await self.system.value("select status from saga.sagas where id = $1", self.saga_id)
            assert found == status
            return True

        await eventually(has_come)


def _key_of(command: dict[str, str]) -> str:
    return str(orjson.loads(command["data"])[ENCRYPTED]).partition(".")[0]


async def test_keys_are_rotated_while_a_saga_runs(system: System) -> None:
    saga = ByHand(system)
    service = system.begin_service(SAGA_ENCRYPTION_KEYS=OLD_ALONE)
    await system.ready(service)
    saga.start()
    first = await saga.command("first:action:1")
    assert (_key_of(first), saga.decrypted(first)) == ("old", {"passenger": MARKER, "outputs": {}})
    service.ask_to_stop()
    await system.ended(service)

    service = system.begin_service(SAGA_ENCRYPTION_KEYS=NEW_THEN_OLD)
    await system.ready(service)
    saga.succeed(first)
    second = await saga.command("second:action:1")
    assert _key_of(second) == "new"
    assert saga.decrypted(second) == {"passenger": MARKER, "outputs": {"first": {"seat": "12A"}}}
    in_use = orjson.loads((await system.command("keys", "list", "--json", SAGA_ENCRYPTION_KEYS=NEW_THEN_OLD)).out)
    assert [each["key_id"] for each in in_use] == ["new", "old"]

    rotated = await system.command("keys", "rotate", SAGA_ENCRYPTION_KEYS=NEW_THEN_OLD)
    assert (rotated.exit_code, rotated.out) == (0, "rewritten: 1 of 1 saga\n")
    in_use = orjson.loads((await system.command("keys", "list", "--json", SAGA_ENCRYPTION_KEYS=NEW_THEN_OLD)).out)
    assert in_use == [{"key_id": "new", "sagas": 1, "dead_letters": 0}]
    service.ask_to_stop()
    await system.ended(service)

    service = system.begin_service(SAGA_ENCRYPTION_KEYS=write_key(NEW))
    await system.ready(service)
    saga.succeed(second)
    await saga.until("completed")

    async def outcome() -> dict[str, str]:
        (_, fields), *_ = system.entries(system.names.outcomes)
        return fields

    ended = await eventually(outcome)
    outputs = decrypt_value(orjson.loads(ended["data"]), saga.cipher, OUTCOME, ended["id"])
    assert orjson.loads(outputs) == {"first": {"seat": "12A"}, "second": {"seat": "12A"}}


async def test_a_replica_without_the_key_of_an_open_saga_does_not_start(system: System) -> None:
    saga = ByHand(system)
    service = system.begin_service(SAGA_ENCRYPTION_KEYS=OLD_ALONE)
    await system.ready(service)
    saga.start()
    await saga.command("first:action:1")

    for keys in (write_key(NEW), ""):
        refused = await system.command("run", SAGA_ENCRYPTION_KEYS=keys)
        assert refused.exit_code == 1
        assert f"the stored input of saga {saga.saga_id} is encrypted with key 'old'" in refused.err
        assert "add the key to SAGA_ENCRYPTION_KEYS" in refused.err
