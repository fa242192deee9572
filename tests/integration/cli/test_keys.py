"""`keys`, and what `show`, `list` and `doctor` make of encrypted values."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis import Redis

from saga_service.base.postgres import close_pool
from saga_service.encryption import Cipher
from saga_service.encryption.keys import read_keys, write_key
from saga_service.store.pool import create_pool
from saga_service.store.postgres_store import PostgresStore
from saga_service.wire.dead_letters import dead_letter
from saga_service.wire.events import write_event
from tests.support.builders import delivered
from tests.support.ciphers import MARKER, NEW, OF_NEW, OF_OLD, OLD
from tests.support.command_line import run
from tests.support.store_batches import ORDER, batch, start, succeed

KEYS = f"{write_key(NEW)},{write_key(OLD)}"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_url: str, postgres_dsn: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_ENCRYPTION_KEYS", KEYS)


def keep(postgres_dsn: str, cipher: Cipher | None, key: str) -> None:
    """A saga with an input and an output."""
    began = start(key, saga_input={"name": MARKER})

    async def commit() -> None:
        pool = await create_pool(postgres_dsn, 1)
        store = PostgresStore(pool, lambda document: ORDER, cipher=cipher)
        await store.commit(batch(began))
        await store.commit(batch(succeed(began, {"at": MARKER})))
        await close_pool(pool)

    asyncio.run(commit())


def bury(postgres_dsn: str, cipher: Cipher) -> None:
    """A dead letter whose data is encrypted."""
    made = batch()
    entry = delivered(write_event("saga:events", "order", {"name": MARKER}, cipher=cipher))
    made.dead_letters.append(dead_letter(entry, "nobody could use it", 1))

    async def commit() -> None:
        pool = await create_pool(postgres_dsn, 1)
        await PostgresStore(pool, lambda document: ORDER).commit(made)
        await close_pool(pool)

    asyncio.run(commit())


def found_by_the_doctor() -> tuple[str, str]:
    [finding] = [each for each in run("doctor", "--json").json if each["check"] == "keys"]
    return finding["verdict"], finding["text"]


def test_without_any_keys_the_doctor_still_sees_what_is_encrypted(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGA_ENCRYPTION_KEYS")
    assert found_by_the_doctor() == ("ok", "nothing is encrypted yet")
    keep(postgres_dsn, OF_OLD, "a")
    assert found_by_the_doctor() == ("problem", "old: 1 saga; not known here: old")
    assert "put old into SAGA_ENCRYPTION_KEYS, which is unset" in run("doctor").out


def test_a_fresh_key_is_one_that_the_settings_take() -> None:
    printed = run("keys", "make", "--id", "2026b").out.strip()
    assert [key.id for key in read_keys(printed)] == ["2026b"]
    assert run("keys", "make", "--id", "a b").exit_code == 2


def test_the_list_counts_sagas_and_dead_letters_by_key(postgres_dsn: str) -> None:
    for cipher, key in ((OF_NEW, "a"), (OF_OLD, "b"), (OF_OLD, "c"), (None, "d")):
        keep(postgres_dsn, cipher, key)
    bury(postgres_dsn, OF_OLD)
    assert run("keys", "list", "--json").json == [
        {"key_id": "", "sagas": 1, "dead_letters": 0},
        {"key_id": "new", "sagas": 1, "dead_letters": 0},
        {"key_id": "old", "sagas": 2, "dead_letters": 1},
    ]
    assert [line.split()[-1] for line in run("keys", "list").lines[2:]] == ["encrypts", "decrypts"]


def test_after_a_rotation_the_old_key_can_go(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(postgres_dsn, OF_OLD, "a")
    keep(postgres_dsn, None, "b")
    assert found_by_the_doctor() == (
        "ok",
        "not encrypted: 1 saga, old: 1 saga",
    )

    assert "to encrypt all with new: saga-service keys rotate" in run("doctor").out

    ran = run("keys", "rotate", "--json")
    assert (ran.exit_code, ran.json["rewritten"], ran.json["examined"]) == (0, 2, 2)

    monkeypatch.setenv("SAGA_ENCRYPTION_KEYS", write_key(NEW))
    assert found_by_the_doctor() == ("ok", "new: 2 sagas")
    assert run("show", "a", "--json").json["saga"]["input"] == {"name": MARKER}


def test_a_key_that_is_in_use_and_not_known_is_a_problem(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(postgres_dsn, OF_OLD, "a")
    monkeypatch.setenv("SAGA_ENCRYPTION_KEYS", write_key(NEW))
    assert found_by_the_doctor() == ("problem", "old: 1 saga; not known here: old")

    ran = run("keys", "rotate")
    assert ran.exit_code == 1
    assert "is encrypted with key 'old', which is not known here" in ran.err
    assert "1 saga cannot be decrypted, 0 kept changing; keep the old keys" in ran.err


def test_without_keys_nothing_is_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGA_ENCRYPTION_KEYS")
    ran = run("keys", "rotate")
    assert (ran.exit_code, ran.err) == (
        2,
        "saga-service: there is no key to encrypt with; set SAGA_ENCRYPTION_KEYS\n",
    )


def test_show_and_list_decrypt_or_name_the_missing_key(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(postgres_dsn, OF_OLD, "a")
    story, [row] = run("show", "a", "--json").json, run("list", "--json").json
    assert (story["saga"]["input"], story["steps"][0]["output"]) == ({"name": MARKER}, {"at": MARKER})
    assert row["input"] == {"name": MARKER}

    monkeypatch.delenv("SAGA_ENCRYPTION_KEYS")
    story, [row] = run("show", "a", "--json").json, run("list", "--json").json
    assert {story["saga"]["input"], story["steps"][0]["output"], row["input"]} == {"encrypted (key old)"}


def test_start_encrypts_what_it_adds(redis_url: str) -> None:
    assert run("start", "order", "--data", f'{{"name": "{MARKER}"}}').exit_code == 0
    with Redis.from_url(redis_url) as client:
        [(_, fields)] = client.xrange("saga:events")
    assert MARKER not in str(fields)
    assert fields[b"data"].startswith(b'{"$encrypted":"new.')
