"""From what a person wants started to the entry on the stream, and to the id of the saga that it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from saga_service.cli.access.decryption import cipher_of
from saga_service.cli.access.definitions import catalog_on_record, load_catalog
from saga_service.cli.access.servers import open_postgres, open_redis
from saga_service.cli.access.views import saga_with_id
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.core.events import Started
from saga_service.core.ids import saga_id_from_key
from saga_service.core.state import JsonObject
from saga_service.engine.decode import Decoder, Received
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Message
from saga_service.wire.events import write_event
from saga_service.wire.json import write
from saga_service.wire.saga_spec import InvalidInput
from saga_service.wire.stream_names import StreamNames

if TYPE_CHECKING:
    from saga_service.definitions import Catalog
    from saga_service.settings import Settings

_SOME_ENTRY_ID = "1-1"
_SOME_MOMENT_MS = 0

IdOfSaga = Callable[[str], str | None]
"""From the entry's id to the saga's, where it can be known."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a person wants. The input is `data`, or else `fields`, which are still to be read by the saga's schema.

    With a `stream` the input's fields go there as they are, without an envelope.
    """

    saga: str
    data: JsonObject | None
    fields: Mapping[str, str]
    key: str | None
    event_id: str | None
    stream: str | None


@dataclass(frozen=True, slots=True)
class StartedSaga:
    """Where the entry is, and which saga it starts."""

    saga_id: str | None
    id_unknown_because: str | None
    """Without a definition nobody knows whether it takes its key, and so its id, from the input."""
    is_new: bool | None
    """Whether there was no such saga yet. None where nobody has looked."""
    saga: str
    stream: str
    entry_id: str


async def start(settings: Settings, request: StartRequest, *, is_awaited: bool = False) -> StartedSaga:
    """Add the entry. Raises CommandFailed where it would only become a dead letter, or Redis cannot be used; and,
    where the saga is to be awaited, where nobody could tell its id."""
    names = StreamNames(settings.prefix)
    catalog, unknown_because = await _catalog(settings, request, is_needed=is_awaited and request.key is None)
    cipher = cipher_of(settings)
    message = _message(names, request, catalog, cipher)
    if catalog is None:
        id_of_saga = _by_what_is_given(request)
    else:
        id_of_saga = _by_definitions(Decoder(catalog, names, settings.data_bytes_max, cipher), message)
    # Finds out what the service would refuse, before anything is added.
    foreseen = id_of_saga(_SOME_ENTRY_ID)
    is_new = await _is_new(settings, foreseen) if is_awaited and foreseen is not None else None
    async with open_redis(settings) as client:
        entry_id = (await client.execute_command("XADD", message.stream, "*", *message.fields)).decode()
    return StartedSaga(id_of_saga(entry_id), unknown_because, is_new, request.saga, message.stream, entry_id)


async def _catalog(settings: Settings, request: StartRequest, *, is_needed: bool) -> tuple[Catalog | None, str | None]:
    """What reads the input; or nothing, and why the saga's id is then not known, if it is not."""
    if settings.definitions:
        return load_catalog(settings.definitions, settings.prefix), None
    try:
        return await catalog_on_record(settings, request.saga, request.stream), None
    except CommandFailed as failure:
        if is_needed:
            raise CommandFailed(f"nothing was started: {failure}", failure.code) from None
        return None, str(failure) if request.key is None else None


async def _is_new(settings: Settings, saga_id: str) -> bool:
    async with open_postgres(settings) as connection:
        return await saga_with_id(connection, saga_id) is None


# ------------------------------------------------------------------------------------------------------- the entry


def _message(names: StreamNames, request: StartRequest, catalog: Catalog | None, cipher: Cipher | None) -> Message:
    stream = request.stream
    if stream is None or stream == names.events:
        data = _read_fields(request, catalog) if request.data is None else request.data
        return write_event(names.events, request.saga, data, event_id=request.event_id, key=request.key, cipher=cipher)
    if stream.startswith(names.prefix):
        raise CommandFailed(f"'{stream}' is a stream of the service itself; leave --stream out", ExitCode.USAGE)
    if request.key is not None or request.event_id is not None:
        raise CommandFailed("--key and --id belong to the common stream; leave --stream out", ExitCode.USAGE)
    return _flat_message(stream, request)


def _read_fields(request: StartRequest, catalog: Catalog | None) -> JsonObject:
    spec = None if catalog is None else catalog.by_event_type(request.saga)
    if spec is None:
        return {name: guessed(value) for name, value in request.fields.items()}
    try:
        return spec.read_fields(request.fields)
    except InvalidInput as error:
        raise CommandFailed(f"nothing was started: {error}", ExitCode.USAGE) from None


def guessed(text: str) -> object:
    """A field of which no schema is known: JSON if it is valid JSON, else text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _flat_message(stream: str, request: StartRequest) -> Message:
    given = request.fields if request.data is None else request.data
    if not given:
        raise CommandFailed("an entry of that stream needs a field: --field NAME=VALUE", ExitCode.USAGE)
    texts = ((name, value if isinstance(value, str) else write(value)) for name, value in given.items())
    return Message(stream, tuple(part for pair in texts for part in pair))


# ------------------------------------------------------------------------------------------------- which saga it is


def _by_definitions(decoder: Decoder, message: Message) -> IdOfSaga:
    """The service's own reading of the entry."""
    parts = [part.encode() for part in message.fields]
    fields = dict(zip(parts[::2], parts[1::2], strict=True))

    def id_of_saga(entry_id: str) -> str:
        read = decoder.decode_finally(Entry(message.stream, entry_id, fields), _SOME_MOMENT_MS)
        if isinstance(read, DeadLetter):
            raise CommandFailed(f"nothing was started: {read.reason}", ExitCode.USAGE)
        assert isinstance(read, Received), "only the service's own streams carry anything else"
        assert isinstance(read.event, Started), "likewise"
        return read.event.saga_id

    return id_of_saga


def _by_what_is_given(request: StartRequest) -> IdOfSaga:
    key = request.key
    return lambda _: None if key is None else saga_id_from_key(request.saga, key)
