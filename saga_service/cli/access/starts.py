"""A start request as the entry on a stream, and the id of the saga that the entry starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from saga_service.cli.access.definitions import load_catalog, registered_catalog
from saga_service.cli.access.encryption import cipher_of
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.redis import open_redis
from saga_service.cli.access.selection import read_value
from saga_service.cli.access.views import saga_with_id
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.core.events import Started
from saga_service.core.ids import saga_id_from_key
from saga_service.core.state import JsonObject
from saga_service.definitions import Catalog
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

IdOfSaga = Callable[[str], str | None]
"""A function from the entry's id to the saga's id, None where that cannot be known."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A request to start a saga. The input is `data`, or else `fields`, which are read by the saga's schema.

    With a `stream` the input's fields are added to it as they are, without an envelope.
    """

    saga: str
    data: JsonObject | None
    fields: Mapping[str, str]
    key: str | None
    event_id: str | None
    stream: str | None


@dataclass(frozen=True, slots=True)
class StartedSaga:
    """The entry that was added, and the saga that it starts."""

    saga_id: str | None
    id_unknown_because: str | None
    """Without its definition a saga may take its key, and so its id, from the input."""
    is_new: bool | None
    """False where the saga existed before. None where that was not looked up."""
    saga: str
    stream: str
    entry_id: str


async def start(settings: Settings, request: StartRequest, *, is_awaited: bool = False) -> StartedSaga:
    """Add the entry that starts a saga.

    Raises CommandFailed where the entry would become a dead letter, where Redis cannot be used, and, with `is_awaited`,
    where the saga's id cannot be known.
    """
    names = StreamNames(settings.stream_prefix)
    catalog, unknown_because = await _catalog(settings, request, is_needed=is_awaited and request.key is None)
    cipher = cipher_of(settings)
    message = _message(names, request, catalog, cipher)
    if catalog is None:
        id_of_saga = _by_given_key(request)
    else:
        id_of_saga = _by_definitions(Decoder(catalog, names, settings.entry_bytes_max, cipher), message)
    # Raises for what the service would refuse, before anything is added.
    expected_id = id_of_saga(_SOME_ENTRY_ID)
    is_new = await _is_new(settings, expected_id) if is_awaited and expected_id is not None else None
    async with open_redis(settings) as client:
        entry_id = (await client.execute_command("XADD", message.stream, "*", *message.fields)).decode()
    return StartedSaga(id_of_saga(entry_id), unknown_because, is_new, request.saga, message.stream, entry_id)


async def _catalog(settings: Settings, request: StartRequest, *, is_needed: bool) -> tuple[Catalog | None, str | None]:
    """The definitions that read the input; or none, and why the saga's id is not known then."""
    if settings.definitions:
        return load_catalog(settings.definitions, settings.stream_prefix), None
    try:
        return await registered_catalog(settings, request.saga, request.stream), None
    except CommandFailed as failure:
        if is_needed:
            raise CommandFailed(f"nothing was started: {failure}", code=failure.code) from None
        return None, str(failure) if request.key is None else None


async def _is_new(settings: Settings, saga_id: str) -> bool:
    async with open_postgres(settings) as connection:
        return await saga_with_id(connection, saga_id) is None


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


def _flat_message(stream: str, request: StartRequest) -> Message:
    given = request.fields if request.data is None else request.data
    if not given:
        raise CommandFailed("an entry of that stream needs a field: --field NAME=VALUE", code=ExitCode.USAGE)
    texts = ((name, value if isinstance(value, str) else write(value)) for name, value in given.items())
    return Message(stream, tuple(part for pair in texts for part in pair))


def _by_definitions(decoder: Decoder, message: Message) -> IdOfSaga:
    """The saga's id as the service itself will read it from the entry."""
    parts = [part.encode() for part in message.fields]
    fields = dict(zip(parts[::2], parts[1::2], strict=True))

    def id_of_saga(entry_id: str) -> str:
        read = decoder.decode_finally(Entry(message.stream, entry_id, fields), _SOME_MOMENT_MS)
        if isinstance(read, DeadLetter):
            raise CommandFailed(f"nothing was started: {read.reason}", code=ExitCode.USAGE)
        assert isinstance(read, Received), "only the service's own streams carry anything else"
        assert isinstance(read.event, Started), "likewise"
        return read.event.saga_id

    return id_of_saga


def _by_given_key(request: StartRequest) -> IdOfSaga:
    key = request.key
    return lambda _: None if key is None else saga_id_from_key(request.saga, key)
