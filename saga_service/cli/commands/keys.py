"""`keys`: make a key, list the keys in use, and encrypt stored sagas with another key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from saga_service.admin.encryption import KeyUsage, cipher_of, keys_in_use, known_key_ids
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.postgres_writers import open_key_rotation
from saga_service.cli.console.output import AsJson, counted, print_json
from saga_service.cli.console.tables import print_table
from saga_service.cli.invocation import run_to_end
from saga_service.core.ids import SagaId
from saga_service.encryption.keys import KEY_ID_CHARACTERS_MAX, fresh_key, is_key_id, write_key
from saga_service.settings import Settings
from saga_service.store.encryption import PostgresKeyRotation
from saga_service.wire.encryption import Cipher

commands = typer.Typer(no_args_is_help=True)

COUNT_S_MAX = 3_600.0
PAGE_SAGAS_MAX = 100
PROGRESS_EVERY_SAGAS = 10_000
ROUNDS_MAX = 20
"""Rounds over sagas that changed while they were being encrypted."""
PAUSE_S = 0.5
PROBLEMS_PRINTED_MAX = 10


@dataclass(slots=True)
class Rotation:
    """The sagas of one key rotation."""

    examined: int = 0
    rewritten: int = 0
    undecryptable: int = 0
    still_changing: int = 0


@commands.command("make", epilog="Example: saga-service keys make --id 2026b")
def make_command(
    key_id: Annotated[
        str | None, typer.Option("--id", help="The key's id, never used for another key. Without it: today's date.")
    ] = None,
) -> None:
    """Print a fresh key for SAGA_ENCRYPTION_KEYS: behind the others until every process has it, and then first."""
    chosen = key_id if key_id is not None else datetime.now(UTC).strftime("%Y-%m-%d")
    if not is_key_id(chosen):
        raise Failure(
            f"--id must be letters, digits, - and _, {KEY_ID_CHARACTERS_MAX} at most, but is '{chosen}'",
            kind=FailureKind.INVALID,
        )
    typer.echo(write_key(fresh_key(chosen)))


@commands.command("list", epilog="Example: saga-service keys list")
def list_command(as_json: AsJson = False) -> None:
    """Count the sagas in Postgres by the key that they are encrypted with. It reads every saga."""
    settings = read_settings()
    usage = run_to_end(_usage(settings))
    if as_json:
        print_json(usage)
        return
    known = known_key_ids(settings)
    first = known[0] if known and settings.encryption_enabled else None
    rows = [
        (each.key_id or "(plain)", str(each.sagas), str(each.dead_letters), _use_of(each.key_id, known, first))
        for each in usage
    ]
    print_table(("key", "sagas", "dead letters", "here"), rows)


@commands.command("rotate", epilog="Example: saga-service keys rotate")
def rotate_command(as_json: AsJson = False) -> None:
    """Encrypt stored sagas with the first key: those that are plain, or encrypted with another. The service may run.

    With SAGA_ENCRYPTION_ENABLED=false every saga is decrypted instead.
    """
    settings = read_settings()
    cipher = cipher_of(settings)
    if cipher is None:
        raise Failure("there is no key to encrypt with", "set SAGA_ENCRYPTION_KEYS", kind=FailureKind.INVALID)
    done = run_to_end(_rotate(settings, cipher))
    if as_json:
        print_json(done)
    else:
        typer.echo(f"rewritten: {done.rewritten} of {counted(done.examined, 'saga')}")
    if done.undecryptable or done.still_changing:
        raise Failure(
            f"{counted(done.undecryptable, 'saga')} cannot be decrypted, {done.still_changing} kept changing",
            "keep the old keys, and see where they are in use: saga-service keys list",
        )


async def _usage(settings: Settings) -> list[KeyUsage]:
    async with open_postgres(settings) as connection:
        return await keys_in_use(connection, COUNT_S_MAX)


def _use_of(key_id: str, known: Sequence[str] | None, first: str | None) -> str:
    """The use of a key here; empty for what is plain, or where a cipher of the team's own has the keys."""
    if not key_id or known is None:
        return ""
    if key_id not in known:
        return "unknown"
    return "encrypts" if key_id == first else "decrypts"


async def _rotate(settings: Settings, cipher: Cipher) -> Rotation:
    done = Rotation()
    async with open_key_rotation(settings, cipher) as rotation:
        changed = await _all_sagas(rotation, done)
        for _ in range(ROUNDS_MAX):
            if not changed:
                break
            # A saga that is under way changes when its worker answers; until then it may be held for a moment only.
            await asyncio.sleep(PAUSE_S)
            changed = await _some_sagas(rotation, changed, done)
    done.still_changing = len(changed)
    return done


async def _all_sagas(rotation: PostgresKeyRotation, done: Rotation) -> list[SagaId]:
    """The sagas that changed meanwhile, and are to be tried again."""
    changed: list[SagaId] = []
    after: SagaId | None = None
    while page := await rotation.next_sagas(after, PAGE_SAGAS_MAX):
        changed += await _some_sagas(rotation, page, done)
        done.examined += len(page)
        after = page[-1]
        if done.examined % PROGRESS_EVERY_SAGAS < len(page):
            typer.echo(f"{counted(done.examined, 'saga')} examined, {done.rewritten} rewritten", err=True)
    return changed


async def _some_sagas(rotation: PostgresKeyRotation, saga_ids: list[SagaId], done: Rotation) -> list[SagaId]:
    changed: list[SagaId] = []
    for begin in range(0, len(saga_ids), PAGE_SAGAS_MAX):
        page = await rotation.rotate(saga_ids[begin : begin + PAGE_SAGAS_MAX])
        done.rewritten += page.done
        for problem in page.undecryptable[: max(0, PROBLEMS_PRINTED_MAX - done.undecryptable)]:
            typer.echo(problem, err=True)
        done.undecryptable += len(page.undecryptable)
        changed += page.again
    return changed
