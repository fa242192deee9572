"""A start request as the entry on a stream, and the id of the saga that the entry starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import typer

from saga_service.cli.access.definitions import UnknownSaga, load_catalog, registered_catalog
from saga_service.cli.access.encryption import cipher_of, decrypted_saga
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.redis import open_redis
from saga_service.cli.access.selection import read_value
from saga_service.cli.access.views import SagaRow, saga_with_id
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.cli.text import quoted
from saga_service.core.events import Started
from saga_service.core.ids import saga_id_from_key
from saga_service.core.state import JsonObject
from saga_service.definitions import Catalog
from saga_service.definitions.problems import closest
from saga_service.engine.decode import Decoder, Received
from saga_service.settings import Settings
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Message
from saga_service.wire.events import write_event
from saga_service.wire.json import write
from saga_service.wire.saga_spec import InvalidInput
from saga_service.wire.transport import StreamNames

_SOME_ENTRY_ID = "1-1"
_SOME_MOMENT_MS = 0


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A request to start a saga. The input is `data`, or else `fields`, which are read by the saga's schema.

    With a `stream` the input's fields are added to it as they are, without an envelope. With `is_forced` a name that no
    saga has here is taken as it is.
    """

    saga: str
    data: JsonObject | None
    fields: Mapping[str, str]
    key: str | None
    event_id: str | None
    stream: str | None
    is_forced: bool = False

    @property
    def given(self) -> JsonObject:
        """The input as it was given."""
        return {**self.fields} if self.data is None else self.data


@dataclass(frozen=True, slots=True)
class StartedSaga:
    """The entry that was added, and the saga that it starts."""

    saga_id: str | None
    id_unknown_because: str | None
    """Without its definition a saga may take its key, and so its id, from the input."""
    is_new: bool | None
    """False where the saga existed before. None where Postgres could not be asked."""
    status: str | None
    """The status of a saga that existed before."""
    saga: str
    stream: str
    entry_id: str


class _Meant(NamedTuple):
    """The saga that an entry starts, as the service will read it. None stands for what cannot be known."""

    saga_id: str | None
    input: JsonObject | None


_MeantBy = Callable[[str], _Meant]
"""A function from the entry's id to the saga that the entry starts."""


async def start(settings: Settings, request: StartRequest, *, is_awaited: bool = False) -> StartedSaga:
    """Add the entry that starts a saga.

    Raises CommandFailed, before anything is added, where the entry would become a dead letter, where a saga of this key
    or event id was started with another input, where Redis cannot be used, and, with `is_awaited`, where the saga's id
    cannot be known or Postgres cannot be used.
    """
    names = StreamNames(settings.stream_prefix)
    catalog, failure = await _catalog(settings, request, is_needed=is_awaited and request.key is None)
    cipher = cipher_of(settings)
    remarks = misspelt_fields(catalog, request)
    try:
        message = _message(names, request, catalog, cipher)
        if catalog is None:
            meant_by = _by_given_key(request)
        else:
            meant_by = _by_definitions(Decoder(catalog, names, settings.entry_bytes_max, cipher), message)
        # Raises for what the service would refuse, before anything is added.
        expected = meant_by(_SOME_ENTRY_ID)
    except CommandFailed as refusal:
        raise CommandFailed("; ".join([str(refusal), *remarks]), code=refusal.code) from None
    for remark in remarks:
        typer.echo(remark, err=True)
    is_new, status = None, None
    if failure is None or failure.code is ExitCode.PROBLEM:
        is_new, status = await _look_up(settings, expected, request, is_needed=is_awaited)
    async with open_redis(settings) as client:
        entry_id = (await client.execute_command("XADD", message.stream, "*", *message.fields)).decode()
    saga_id = meant_by(entry_id).saga_id
    unknown_because = None if saga_id is not None else str(failure)
    return StartedSaga(saga_id, unknown_because, is_new, status, request.saga, message.stream, entry_id)


async def _catalog(
    settings: Settings, request: StartRequest, *, is_needed: bool
) -> tuple[Catalog | None, CommandFailed | None]:
    """The definitions that read the input; or none, and why."""
    given = load_catalog(settings.definitions, settings.stream_prefix) if settings.definitions else None
    try:
        if given is None:
            return await registered_catalog(settings, request.saga, request.stream), None
        if given.by_event_type(request.saga) is None:
            where = "among SAGA_DEFINITIONS, nor started by an event of that type"
            raise UnknownSaga(request.saga, where, given.event_types())
        return given, None
    except CommandFailed as failure:
        if isinstance(failure, UnknownSaga) and not request.is_forced:
            advice = "--force adds the entry all the same"
            raise CommandFailed(f"nothing was started: {failure}", advice, code=ExitCode.USAGE) from None
        if is_needed:
            raise CommandFailed(f"nothing was started: {failure}", code=failure.code) from None
        return None, failure


async def _look_up(
    settings: Settings, meant: _Meant, request: StartRequest, *, is_needed: bool
) -> tuple[bool | None, str | None]:
    """Whether the saga is new, and its status where it is not. Raises CommandFailed where it has another input."""
    if meant.saga_id is None:
        return None, None
    try:
        async with open_postgres(settings) as connection:
            found = await saga_with_id(connection, meant.saga_id)
    except CommandFailed:
        if is_needed:
            raise
        return None, None
    if found is None:
        return True, None
    _refuse_another_input(decrypted_saga(found, cipher_of(settings)), meant, request)
    return False, found.status


def _refuse_another_input(found: SagaRow, meant: _Meant, request: StartRequest) -> None:
    """Raises CommandFailed where a field that is given differs from that of the saga which is there."""
    if meant.input is None or not isinstance(found.input, dict):
        return  # No schema is known here, or no key of an encrypted input.
    other = [name for name in request.given if found.input.get(name) != meant.input.get(name)]
    if other:
        raise CommandFailed(
            f"nothing was started: {found.saga} {found.id} is there already ({found.status}), and was started with "
            f"another input ({', '.join(map(quoted, other))})",
            f"give another key for another saga, or look: saga-service show {found.id}",
        )


def _message(names: StreamNames, request: StartRequest, catalog: Catalog | None, cipher: Cipher | None) -> Message:
    stream = request.stream
    if stream is None or stream == names.events:
        data = _read_fields(request, catalog) if request.data is None else request.data
        return write_event(names.events, request.saga, data, event_id=request.event_id, key=request.key, cipher=cipher)
    if stream.startswith(names.prefix):
        raise CommandFailed(f"'{stream}' is a stream of the service itself", "leave --stream out", code=ExitCode.USAGE)
    if request.key is not None or request.event_id is not None:
        raise CommandFailed("--key and --id belong to the common stream", "leave --stream out", code=ExitCode.USAGE)
    return _flat_message(stream, request)


def _read_fields(request: StartRequest, catalog: Catalog | None) -> JsonObject:
    spec = None if catalog is None else catalog.by_event_type(request.saga)
    if spec is None:
        return {name: read_value(name, value) for name, value in request.fields.items()}
    try:
        return spec.read_fields(request.fields)
    except InvalidInput as error:
        raise CommandFailed(f"nothing was started: {error}", code=ExitCode.USAGE) from None


def misspelt_fields(catalog: Catalog | None, request: StartRequest) -> list[str]:
    """A remark on each given field that the input's schema does not name, and that is nearly one that it names."""
    spec = None if catalog is None else catalog.by_event_type(request.saga)
    known = [] if spec is None else list(spec.input.schema.get("properties", ()))
    near = {name: closest(name, known) for name in request.given if name not in known}
    return [f"the input has no field {quoted(name)}{question}" for name, question in near.items() if question]


def _flat_message(stream: str, request: StartRequest) -> Message:
    if not request.given:
        raise CommandFailed("an entry of that stream needs a field: --field NAME=VALUE", code=ExitCode.USAGE)
    texts = ((name, value if isinstance(value, str) else write(value)) for name, value in request.given.items())
    return Message(stream, tuple(part for pair in texts for part in pair))


def _by_definitions(decoder: Decoder, message: Message) -> _MeantBy:
    """The saga as the service itself will read it from the entry."""
    parts = [part.encode() for part in message.fields]
    fields = dict(zip(parts[::2], parts[1::2], strict=True))

    def meant_by(entry_id: str) -> _Meant:
        read = decoder.decode_finally(Entry(message.stream, entry_id, fields), _SOME_MOMENT_MS)
        if isinstance(read, DeadLetter):
            raise CommandFailed(f"nothing was started: {read.reason}", code=ExitCode.USAGE)
        assert isinstance(read, Received), "only the service's own streams carry anything else"
        assert isinstance(read.event, Started), "a saga is started by an event of this type"
        return _Meant(read.event.saga_id, read.event.input)

    return meant_by


def _by_given_key(request: StartRequest) -> _MeantBy:
    meant = _Meant(None if request.key is None else saga_id_from_key(request.saga, request.key), None)
    return lambda _: meant
