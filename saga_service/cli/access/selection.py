"""The sagas and the data that a person names on the command line.

A saga is named by its id or its business key. Several are selected by filters. Data is `--data` with a JSON object, or
`--field NAME=VALUE` for each field of it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from asyncpg import Connection

from saga_service.cli.access.filters import SagaFilter, age, sagas_to_operate
from saga_service.cli.access.views import (
    SagaRow,
    SagaStory,
    has_open_request,
    latest_dead_letter_of,
    saga_with_id,
    sagas_with_key,
    story_of,
)
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.cli.text import quoted
from saga_service.core.ids import SagaId, parse_saga_id
from saga_service.core.state import JsonObject, SagaState
from saga_service.core.vocabulary import Operation, SagaStatus
from saga_service.store.encryption import decrypted_state
from saga_service.store.rows import read_saga
from saga_service.wire.business_keys import KeyForm, written_key
from saga_service.wire.encryption import Cipher, DecryptionFailed
from saga_service.wire.entries import Malformed
from saga_service.wire.json import NotJson, read_json, read_object


def given_data(data: str | None, fields: list[str] | None) -> JsonObject | None:
    """The object of `--data`, read from standard input where it is `-`. None where it is not given.

    Raises CommandFailed where it is no JSON object, or fields are given as well.
    """
    if data is not None and fields:
        raise CommandFailed("give the input by --data or by --field, not by both", code=ExitCode.USAGE)
    if data is None:
        return None
    return read_json_object(sys.stdin.buffer.read() if data == "-" else data.encode(), "--data")


def read_json_object(text: bytes, option: str) -> JsonObject:
    """The JSON object of an option's text. Raises CommandFailed where it is none."""
    try:
        return read_object(text, option)
    except Malformed as error:
        raise CommandFailed(str(error).replace(f"field '{option}'", option), code=ExitCode.USAGE) from None


def given_fields(fields: list[str] | None) -> dict[str, str]:
    """The texts of all `--field` options, by name. Raises CommandFailed where one is not NAME=VALUE."""
    return dict(_pair(given) for given in fields or [])


def read_value(name: str, text: str) -> object:
    """The value of a field of which no schema is known: JSON if it is valid JSON, else the text.

    Raises CommandFailed where a part of the value would be lost.
    """
    try:
        return read_json(text.encode("utf-8", "surrogateescape"), name)
    except NotJson:
        return text
    except Malformed as error:
        raise CommandFailed(f"--field: {error}", code=ExitCode.USAGE) from None


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise CommandFailed(f"--field must be NAME=VALUE, but is {quoted(given)}", code=ExitCode.USAGE)
    return name, value


# The columns in the order in which the store reads a row.
_STATE = """
select
    state ->> 'id', state ->> 'saga', state ->> 'version', state ->> 'key', state ->> 'status',
    (state ->> 'revision')::integer, state ->> 'input', state ->> 'steps', (state ->> 'created_at_ms')::bigint,
    (state ->> 'updated_at_ms')::bigint, (state ->> 'ended_at_ms')::bigint, (state ->> 'wake_at_ms')::bigint,
    state ->> 'fault', state ->> 'traceparent', state ->> 'extra'
from saga.state($1::uuid) as state where state is not null
"""


NAMED_SAGAS_MAX = 10


async def find_saga(
    connection: Connection,
    given: str,
    definition: str | None = None,
    *,
    by_definition: str = ", or its definition by --saga",
) -> SagaRow:
    """The saga that has this id or business key. Raises CommandFailed where there is none, or more than one.

    A key names the saga that was started with it. It names a child saga only where no saga was started with it, as for
    the service; that there are such children is said on standard error. `definition` is the name of the saga's
    definition, for a key that several definitions know. `by_definition` is printed to say how it can be given.
    """
    saga_id = parse_saga_id(given)
    by_id = await saga_with_id(connection, saga_id) if saga_id else None
    if by_id is not None:
        return by_id
    with_key: list[SagaRow] = []
    # A business key may well look like a UUID, and may have been sent in another spelling than it is kept in.
    for key in dict.fromkeys((given, written_key(KeyForm.UUID, given))):
        with_key = with_key or await sagas_with_key(connection, key, definition, NAMED_SAGAS_MAX + 1)
    if not with_key:
        raise await _no_such_saga(connection, given, saga_id)
    started = [row for row in with_key if row.parent_id is None] or with_key
    if len(started) > 1:
        raise CommandFailed(
            f"several sagas have the key {quoted(given)}: {_named(started)}",
            f"name one by its id{by_definition}",
            code=ExitCode.USAGE,
        )
    if children := [row for row in with_key if row not in started]:
        have = "a child saga has" if len(children) == 1 else "child sagas have"
        typer.echo(f"{have} the key {quoted(given)} too: {_named(children)}", err=True)
    return started[0]


async def _no_such_saga(connection: Connection, given: str, saga_id: SagaId | None) -> CommandFailed:
    """The failure of a command: the saga was never started, its start waits for a replica, or is a dead letter."""
    not_there = f"no saga has the id or the key {quoted(given)}"
    if await has_open_request(connection, saga_id, given):
        return CommandFailed(
            f"{not_there} yet: a request for it waits for a replica of the service", "see: saga-service doctor"
        )
    letter = await latest_dead_letter_of(connection, saga_id, given)
    if letter is None:
        return CommandFailed(not_there, "see: saga-service list")
    return CommandFailed(
        f"{not_there}: dead letter {letter.id} names it, which was refused because {letter.reason}",
        f"see: saga-service dead-letters show {letter.id}",
    )


def _named(sagas: Sequence[SagaRow]) -> str:
    more = " and more" if len(sagas) > NAMED_SAGAS_MAX else ""
    return ", ".join(f"{row.saga} {row.id}" for row in sagas[:NAMED_SAGAS_MAX]) + more


async def story_and_state(
    connection: Connection, saga_id: str, cipher: Cipher | None
) -> tuple[SagaStory, SagaState | None] | None:
    """The story and the state of one moment, None where there is no saga with this id.

    The story is as stored. The state is decrypted where the keys are known here, and None where a later version of the
    service has stored it in a form that this one cannot read.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        story = await story_of(connection, saga_id)
        row = await connection.fetchrow(_STATE, saga_id)
    if story is None or row is None:
        return None
    try:
        return story, _decrypted(read_saga(row), cipher)
    except (KeyError, TypeError, ValueError):
        return story, None


def _decrypted(state: SagaState, cipher: Cipher | None) -> SagaState:
    try:
        return decrypted_state(state, cipher)
    except DecryptionFailed:
        # What may be done to a saga hardly depends on its data.
        return state


_RUNNING, _COMPENSATING, _PAUSED, _STUCK = (
    SagaStatus.RUNNING,
    SagaStatus.COMPENSATING,
    SagaStatus.PAUSED,
    SagaStatus.STUCK,
)

STATUSES_TO_OPERATE: dict[Operation, tuple[SagaStatus, ...]] = {
    Operation.RETRY: (_STUCK,),
    Operation.SKIP: (_STUCK,),
    Operation.RESOLVE: (_STUCK,),
    Operation.CANCEL: (_RUNNING, _PAUSED, _STUCK),
    # Completed sagas only where --status says so.
    Operation.COMPENSATE: (_RUNNING, _PAUSED, _STUCK),
    Operation.PAUSE: (_RUNNING, _COMPENSATING, _STUCK),
    Operation.RESUME: (_PAUSED,),
}
"""The statuses that each operation can do something about: the default of --status."""


@dataclass(frozen=True, slots=True)
class Selection:
    """One saga by its id or key, or all that the filters leave. `older_than` is a duration, such as 2h."""

    target: str | None
    status: SagaStatus | None
    saga: str | None
    error_code: str | None
    older_than: str | None
    sagas_max: int

    def filters(self) -> list[str]:
        """The filters that are given, as options. `--saga` is not among them: it may also say whose key a target is."""
        given = {"--status": self.status, "--error-code": self.error_code, "--older-than": self.older_than}
        return [option for option, value in given.items() if value is not None]


@dataclass(frozen=True, slots=True)
class SelectedSagas:
    """The sagas of a selection. `fit` counts those that there would be without the limit."""

    sagas: list[SagaRow]
    fit: int


def check_selection(selection: Selection) -> None:
    """Raises CommandFailed where nothing says which sagas are meant, or a target and filters both do."""
    filters = selection.filters()
    if selection.target is not None and filters:
        raise CommandFailed(f"name one saga, or filter ({', '.join(filters)}); not both", code=ExitCode.USAGE)
    if selection.target is None and not filters and selection.saga is None:
        raise CommandFailed(
            "no saga is named: give its id or key, or filter by --status, --saga, --error-code, --older-than",
            code=ExitCode.USAGE,
        )
    age(selection.older_than, "--older-than")


async def select(connection: Connection, operation: Operation, selection: Selection) -> SelectedSagas:
    """The sagas to operate, those first that are unchanged the longest.

    Raises CommandFailed where the one saga that is named cannot be found.
    """
    if selection.target is not None:
        return SelectedSagas([await find_saga(connection, selection.target, selection.saga)], 1)
    wanted = SagaFilter(
        statuses=STATUSES_TO_OPERATE[operation] if selection.status is None else (selection.status,),
        saga=selection.saga,
        error_code=selection.error_code,
        older_than=age(selection.older_than, "--older-than"),
    )
    sagas, fit = await sagas_to_operate(connection, wanted, selection.sagas_max)
    return SelectedSagas(sagas, fit)
