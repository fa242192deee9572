"""Which keys stored values are encrypted with, read from the contract's views and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from saga_service.cli.access.servers import read_settings
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.cli.event_loop import run_to_end

if TYPE_CHECKING:
    from asyncpg import Connection

    from saga_service.settings import Settings

PLAIN = ""
"""Stands for the id of a key where a value is not encrypted."""

# An empty object is never encrypted, and tells nothing. Of a dead letter its preview is read, which is text.
KEYS_IN_USE = r"""
select coalesce(key_id, '') as key_id, count(distinct saga_id) as sagas, count(distinct letter_id) as dead_letters
from (
    select split_part(input ->> '$encrypted', '.', 1) as key_id, id as saga_id, null::bigint as letter_id
    from saga.sagas where input <> '{}'
    union all
    select split_part(output ->> '$encrypted', '.', 1), saga_id, null from saga.steps
    where output is not null and output <> '{}'
    union all
    select split_part(data ->> '$encrypted', '.', 1), saga_id, null from saga.signals
    where data is not null and data <> '{}'
    union all
    select substring(fields ->> 'data' from '^\s*\{\s*"\$encrypted"\s*:\s*"([^".]+)\.'), null, id
    from saga.dead_letters where replayed_at is null and fields ->> 'data' ~ '^\s*\{\s*"\$encrypted"'
) as found
group by 1 order by 1
"""


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What is encrypted with one key; `key_id` is empty for what is plain. A saga may be counted under several keys."""

    key_id: str
    sagas: int
    dead_letters: int


async def keys_in_use(connection: Connection, timeout_s: float | None = None) -> list[KeyUsage]:
    """All sagas are read. Raises TimeoutError where that takes longer than `timeout_s`, or else the settings' limit."""
    rows = await connection.fetch(KEYS_IN_USE, timeout=timeout_s)
    return [KeyUsage(**dict(row)) for row in rows]


def known_key_ids(settings: Settings) -> Sequence[str] | None:
    """The first one encrypts. None where a cipher of the team's own has the keys."""
    from saga_service.encryption import read_keys

    if settings.encryption_cipher is not None:
        return None
    return [key.id for key in read_keys(settings.encryption_keys.get_secret_value())]


# MERGED from cli.keys:
# `keys`: make a key, see which keys are in use, and encrypt stored sagas with a new one.

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saga_service.cli.commands.keys import KeyUsage
    from saga_service.core.ids import SagaId
    from saga_service.settings import Settings
    from saga_service.store.key_rotation import PostgresKeyRotation
    from saga_service.wire.encryption import Cipher

commands = typer.Typer(no_args_is_help=True, help="Keys that encrypt inputs, outputs and data: make, list, rotate.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
COUNTING_S_MAX = 3_600.0
SAGAS_AT_ONCE = 100
PROGRESS_EVERY_SAGAS = 10_000
ROUNDS_MAX = 20
"""Over sagas that changed while they were being rewritten."""
PAUSE_S = 0.5
UNDECRYPTABLE_SHOWN_MAX = 10


@dataclass(slots=True)
class Done:
    """The result of a rotation."""

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
    from saga_service.encryption.keys import KEY_ID_CHARACTERS_MAX, fresh_key, is_key_id, write_key

    chosen = key_id if key_id is not None else datetime.now(UTC).strftime("%Y-%m-%d")
    if not is_key_id(chosen):
        raise CommandFailed(
            f"--id must be letters, digits, - and _, {KEY_ID_CHARACTERS_MAX} at most, but is '{chosen}'", ExitCode.USAGE
        )
    typer.echo(write_key(fresh_key(chosen)))


@commands.command("list", epilog="Example: saga-service keys list")
def list_command(as_json: AsJson = False) -> None:
    """Count what is encrypted with which key, in Postgres. It reads every saga."""
    from saga_service.cli.commands.keys import known_key_ids
    from saga_service.cli.console.output import print_json, print_table

    settings = read_settings()
    usage = run_to_end(_usage(settings))
    if as_json:
        print_json(usage)
        return
    known = known_key_ids(settings)
    encrypting = known[0] if known and settings.encryption_enabled else None
    rows = [
        (each.key_id or "(plain)", str(each.sagas), str(each.dead_letters), _state(each.key_id, known, encrypting))
        for each in usage
    ]
    print_table(("key", "sagas", "dead letters", "here"), rows)


@commands.command("rotate", epilog="Example: saga-service keys rotate")
def rotate_command(as_json: AsJson = False) -> None:
    """Encrypt with the first key every stored saga that is plain or has another key. The service may run meanwhile.

    With SAGA_ENCRYPTION_ENABLED=false every saga is decrypted instead.
    """
    from saga_service.cli.access.decryption import cipher_of
    from saga_service.cli.console.output import print_json

    settings = read_settings()
    cipher = cipher_of(settings)
    if cipher is None:
        raise CommandFailed("there is no key to encrypt with: set SAGA_ENCRYPTION_KEYS", ExitCode.USAGE)
    done = run_to_end(_rotate(settings, cipher))
    if as_json:
        print_json(done)
    else:
        typer.echo(f"{done.rewritten} of {done.examined} sagas are rewritten")
    if done.undecryptable or done.still_changing:
        raise CommandFailed(
            f"{done.undecryptable} sagas cannot be decrypted, {done.still_changing} kept changing; "
            "keep the old keys, and see what still needs them: saga-service keys list"
        )


async def _usage(settings: Settings) -> list[KeyUsage]:
    from saga_service.cli.access.servers import open_postgres
    from saga_service.cli.commands.keys import keys_in_use

    async with open_postgres(settings) as connection:
        return await keys_in_use(connection, COUNTING_S_MAX)


def _state(key_id: str, known: Sequence[str] | None, encrypting: str | None) -> str:
    """What a key is used for here; nothing for what is plain, or where nobody knows."""
    if not key_id or known is None:
        return ""
    if key_id not in known:
        return "unknown"
    return "encrypts" if key_id == encrypting else "decrypts"


# ------------------------------------------------------------------------------------------------------------- rotate


async def _rotate(settings: Settings, cipher: Cipher) -> Done:
    import asyncio

    from saga_service.cli.access.servers import open_key_rotation

    done = Done()
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


async def _all_sagas(rotation: PostgresKeyRotation, done: Done) -> list[SagaId]:
    """Those that changed meanwhile."""
    changed: list[SagaId] = []
    after: SagaId | None = None
    while page := await rotation.next_sagas(after, SAGAS_AT_ONCE):
        changed += await _some_sagas(rotation, page, done)
        done.examined += len(page)
        after = page[-1]
        if done.examined % PROGRESS_EVERY_SAGAS < len(page):
            typer.echo(f"{done.examined} sagas examined, {done.rewritten} rewritten", err=True)
    return changed


async def _some_sagas(rotation: PostgresKeyRotation, saga_ids: list[SagaId], done: Done) -> list[SagaId]:
    changed: list[SagaId] = []
    for begin in range(0, len(saga_ids), SAGAS_AT_ONCE):
        rotated = await rotation.rotate(saga_ids[begin : begin + SAGAS_AT_ONCE])
        done.rewritten += rotated.done
        for why in rotated.undecryptable[: max(0, UNDECRYPTABLE_SHOWN_MAX - done.undecryptable)]:
            typer.echo(why, err=True)
        done.undecryptable += len(rotated.undecryptable)
        changed += rotated.again
    return changed
