"""A start request as the entry on a stream, and the id of the saga that the entry starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from saga_service.admin.definitions import UnknownSaga, load_catalog, registered_catalog
from saga_service.admin.deployment_in_force import not_deployed
from saga_service.admin.encryption import cipher_of, decrypted_saga
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.server_access import Servers
from saga_service.admin.text import at_time, quoted
from saga_service.admin.views import ProcessRow, SagaRow, list_processes, saga_with_id
from saga_service.base.similar_names import closest
from saga_service.core.events import Started
from saga_service.core.ids import saga_id_from_key
from saga_service.core.state import JsonObject
from saga_service.definitions import Catalog
from saga_service.engine.decode import Decoder, Received
from saga_service.wire.business_keys import KeyForm, written_key
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Entry, Malformed, Message
from saga_service.wire.events import write_event
from saga_service.wire.json import NotJson, read_json, write
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
    actor: str | None = None
    """Who starts it, for its history. An entry of another stream has no place for that."""

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
    remarks: list[str]
    """What looks wrong in the input, and may be meant; and that no service which is alive has the saga."""


class NothingStarted(Failure):
    """Definitions are known here, and none has the name of the saga. A request that is forced is not refused so."""


class _Meant(NamedTuple):
    """The saga that an entry starts, as the service will read it. None stands for what cannot be known."""

    saga_id: str | None
    input: JsonObject | None


_MeantBy = Callable[[str], _Meant]
"""A function from the entry's id to the saga that the entry starts."""


async def start(servers: Servers, request: StartRequest, *, is_awaited: bool = False) -> StartedSaga:
    """Add the entry that starts a saga.

    Raises Failure, before anything is added, where the entry would become a dead letter, where a saga of this key
    or event id was started with another input, where Redis cannot be used, and, with `is_awaited`, where the saga's id
    cannot be known or Postgres cannot be used.
    """
    settings = servers.settings
    names = StreamNames(settings.stream_prefix)
    catalog, failure = await _catalog(servers, request, is_needed=is_awaited and _id_by_any_definition(request) is None)
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
    except Failure as refusal:
        raise Failure("; ".join([str(refusal), *remarks]), kind=refusal.kind) from None
    is_new, status = None, None
    if failure is None or failure.kind is FailureKind.PROBLEM:
        saga = None if catalog is None else _saga_of(catalog, message.stream, request)
        is_new, status, undeployed = await _look_up(servers, expected, request, saga, is_needed=is_awaited)
        remarks += undeployed
    async with servers.redis() as client:
        entry_id = (await client.execute_command("XADD", message.stream, "*", *message.fields)).decode()
    saga_id = meant_by(entry_id).saga_id
    unknown_because = None if saga_id is not None else str(failure)
    return StartedSaga(saga_id, unknown_because, is_new, status, request.saga, message.stream, entry_id, remarks)


async def _catalog(
    servers: Servers, request: StartRequest, *, is_needed: bool
) -> tuple[Catalog | None, Failure | None]:
    """The definitions that read the input; or none, and why."""
    settings = servers.settings
    given = load_catalog(settings.definitions, settings.stream_prefix) if settings.definitions else None
    try:
        if given is None:
            return await registered_catalog(servers, request.saga, request.stream), None
        if given.by_event_type(request.saga) is None:
            where = "among SAGA_DEFINITIONS, nor started by an event of that type"
            raise UnknownSaga(request.saga, where, given.event_types())
        return given, None
    except Failure as failure:
        if isinstance(failure, UnknownSaga) and not request.is_forced:
            raise NothingStarted(f"nothing was started: {failure}", kind=FailureKind.INVALID) from None
        if is_needed:
            raise Failure(f"nothing was started: {failure}", kind=failure.kind) from None
        return None, failure


def _saga_of(catalog: Catalog, stream: str, request: StartRequest) -> str | None:
    """The name of the saga that the entry starts."""
    spec = catalog.by_stream(stream) or catalog.by_event_type(request.saga)
    return None if spec is None else spec.name


async def _look_up(
    servers: Servers, meant: _Meant, request: StartRequest, saga: str | None, *, is_needed: bool
) -> tuple[bool | None, str | None, list[str]]:
    """Whether the saga is new, its status where it is not, and a remark where it is and nobody can start it.

    Raises Failure where it has another input.
    """
    if meant.saga_id is None:
        return None, None, []
    try:
        async with servers.postgres() as connection:
            found = await saga_with_id(connection, meant.saga_id)
            known = await list_processes(connection, with_dead=True) if found is None and saga is not None else []
    except Failure:
        if is_needed:
            raise
        return None, None, []
    if found is None:
        remark = None if saga is None else not_deployed(known, saga)
        return True, None, [] if remark is None else [remark + _waits_for(servers.settings.deferral_max_ms, known)]
    _refuse_another_input(decrypted_saga(found, cipher_of(servers.settings)), meant, request)
    return False, found.status, []


def _waits_for(deferral_max_ms: int, known: Sequence[ProcessRow]) -> str:
    """How long the entry waits, to end a remark with. Without any service that is alive it waits on its stream."""
    if not any(row.kind == "service" and row.status == "alive" for row in known):
        return ""
    until = at_time(datetime.now(UTC) + timedelta(milliseconds=deferral_max_ms))
    return f"; the entry waits for one until {until}, and becomes a dead letter then"


def _refuse_another_input(found: SagaRow, meant: _Meant, request: StartRequest) -> None:
    """Raises Failure where a field that is given differs from that of the saga which is there."""
    if meant.input is None or not isinstance(found.input, dict):
        return  # No schema is known here, or no key of an encrypted input.
    other = [name for name in request.given if found.input.get(name) != meant.input.get(name)]
    if other:
        raise Failure(
            f"nothing was started: {found.saga} {found.id} is there already ({found.status}), and was started with "
            f"another input ({', '.join(map(quoted, other))})",
            f"give another key for another saga, or look: saga-service show {found.id}",
        )


def _message(names: StreamNames, request: StartRequest, catalog: Catalog | None, cipher: Cipher | None) -> Message:
    stream = request.stream
    if stream is None or stream == names.events:
        data = _read_fields(request, catalog) if request.data is None else request.data
        return write_event(
            names.events,
            request.saga,
            data,
            event_id=request.event_id,
            key=request.key,
            started_by=request.actor,
            cipher=cipher,
        )
    if stream.startswith(names.prefix):
        raise Failure(f"'{stream}' is a stream of the service itself", "leave --stream out", kind=FailureKind.INVALID)
    if request.key is not None or request.event_id is not None:
        raise Failure("--key and --id belong to the common stream", "leave --stream out", kind=FailureKind.INVALID)
    return _flat_message(stream, request)


def _read_fields(request: StartRequest, catalog: Catalog | None) -> JsonObject:
    spec = None if catalog is None else catalog.by_event_type(request.saga)
    if spec is None:
        return {name: read_value(name, value) for name, value in request.fields.items()}
    try:
        return spec.read_fields(request.fields)
    except InvalidInput as error:
        raise Failure(f"nothing was started: {error}", kind=FailureKind.INVALID) from None


def misspelt_fields(catalog: Catalog | None, request: StartRequest) -> list[str]:
    """A remark on each given field that the input's schema does not name, and that is nearly one that it names."""
    spec = None if catalog is None else catalog.by_event_type(request.saga)
    known = [] if spec is None else list(spec.input.schema.get("properties", ()))
    near = {name: closest(name, known) for name in request.given if name not in known}
    return [f"the input has no field {quoted(name)}{question}" for name, question in near.items() if question]


def _flat_message(stream: str, request: StartRequest) -> Message:
    if not request.given:
        raise Failure("an entry of that stream needs a field: --field NAME=VALUE", kind=FailureKind.INVALID)
    texts = ((name, value if isinstance(value, str) else write(value)) for name, value in request.given.items())
    return Message(stream, tuple(part for pair in texts for part in pair))


def _by_definitions(decoder: Decoder, message: Message) -> _MeantBy:
    """The saga as the service itself will read it from the entry."""
    parts = [part.encode() for part in message.fields]
    fields = dict(zip(parts[::2], parts[1::2], strict=True))

    def meant_by(entry_id: str) -> _Meant:
        read = decoder.decode_finally(Entry(message.stream, entry_id, fields), _SOME_MOMENT_MS)
        if isinstance(read, DeadLetter):
            raise Failure(f"nothing was started: {read.reason}", kind=FailureKind.INVALID)
        assert isinstance(read, Received), "only the service's own streams carry anything else"
        assert isinstance(read.event, Started), "a saga is started by an event of this type"
        return _Meant(read.event.saga_id, read.event.input)

    return meant_by


def _by_given_key(request: StartRequest) -> _MeantBy:
    meant = _Meant(_id_by_any_definition(request), None)
    return lambda _: meant


def _id_by_any_definition(request: StartRequest) -> str | None:
    """The saga's id, where the key that is given is the same key whatever the definition says of keys."""
    if request.key is None or any(written_key(form, request.key) != request.key for form in KeyForm):
        return None
    return saga_id_from_key(request.saga, request.key)


def read_value(name: str, text: str) -> object:
    """The value of a field of which no schema is known: JSON if it is valid JSON, else the text.

    Raises Failure where a part of the value would be lost.
    """
    try:
        return read_json(text.encode("utf-8", "surrogateescape"), name)
    except NotJson:
        return text
    except Malformed as error:
        raise Failure(str(error), kind=FailureKind.INVALID) from None
