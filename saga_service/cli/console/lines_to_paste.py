"""Lines for a shell that start sagas and read them, with the addresses of local servers filled in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from saga_service.cli.console.local_api import LocalApi
from saga_service.cli.console.output import print_heading, print_line
from saga_service.core.state import JsonObject
from saga_service.definitions import Catalog
from saga_service.definitions.schema.samples import input_samples
from saga_service.local.servers import EmbeddedServers
from saga_service.local.servers.programs import our_command
from saga_service.wire.saga_spec import InvalidInput
from saga_service.wire.transport import PREFIX_DEFAULT, StreamNames

PATHS_TO_SHOW = ("/v1/sagas", "/openapi.json", "/metrics", "/livez", "/readyz")
LATEST_SAGA = "select id from saga.sagas order by created_at desc limit 1"
LATEST_SAGAS = "select id, saga, key, status, updated_at from saga.sagas order by created_at desc limit 10"
LATEST_STEPS = (
    "select sagas.saga, key, step, steps.status, attempts, output from saga.steps join saga.sagas on id = saga_id "
    "order by created_at desc, id, position limit 20"
)


@dataclass(frozen=True, slots=True)
class SampleStart:
    """A start of a saga, in two forms: the arguments of `saga-service`, and those of XADD."""

    command: str
    entry: str


def starts_of_demo() -> list[SampleStart]:
    """Two starts of the demo's missions, by the stream that triggers them."""
    return [
        SampleStart(
            f"start mission-start --stream saga_requests -f robot_count=2 -f area={area} --wait",
            f"saga_requests '*' robot_count 2 area {area}",
        )
        for area in ("ZoneA", "Crater")
    ]


def starts_of(catalog: Catalog, stream_prefix: str = PREFIX_DEFAULT) -> list[SampleStart]:
    """A start of each saga. The data fits the schema and means nothing."""
    return list(_starts_of(catalog, StreamNames(stream_prefix).events))


def _starts_of(catalog: Catalog, events: str) -> Iterator[SampleStart]:
    for event_type in catalog.event_types():
        name, data = shlex.quote(event_type), shlex.quote(json.dumps(_sample_input(catalog, event_type)))
        yield SampleStart(f"start {name} --data {data} --wait", f"{events} '*' type {name} data {data}")


def _sample_input(catalog: Catalog, event_type: str) -> JsonObject:
    """An input that the saga accepts; empty where none is found."""
    spec = catalog.by_event_type(event_type)
    if spec is None:
        return {}
    schema = spec.input.schema
    names = {*schema.get("required", ()), *([] if spec.key is None else [spec.key])}
    for sample in input_samples(schema, names) or ():
        with suppress(InvalidInput):
            spec.business_key(sample, spec.read_input(sample))
            return sample
    return {}


def print_lines_to_paste(
    servers: EmbeddedServers,
    starts: Sequence[SampleStart],
    stream_prefix: str = PREFIX_DEFAULT,
    api: LocalApi | None = None,
) -> None:
    """Print lines that can be pasted as they are, each under a heading, once the API answers."""
    if api is not None:
        api.wait_until_it_answers()
    print_line()
    for heading, lines in lines_to_paste(servers, starts, stream_prefix, api).items():
        print_heading(f"{heading}:")
        for line in lines:
            print_line(f"  {line}")


def lines_to_paste(
    servers: EmbeddedServers, starts: Sequence[SampleStart], stream_prefix: str, api: LocalApi | None
) -> dict[str, list[str]]:
    """The lines to paste, by a heading that says what they are for."""
    command, redis_cli, psql = our_command(), servers.redis_cli_command, servers.psql_command
    # No definitions: their files and modules are not found from elsewhere, and what is registered is enough.
    exported = {"SAGA_POSTGRES_DSN": servers.postgres_dsn, "SAGA_REDIS_URL": servers.redis_url}
    if stream_prefix != PREFIX_DEFAULT:
        exported["SAGA_STREAM_PREFIX"] = stream_prefix
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in exported.items())
    return {
        "Start sagas, in this folder": [f"{command} {start.command}" for start in starts],
        "Or by XADD, as any program may": [f"{redis_cli} XADD {start.entry}" for start in starts],
        "Look at the latest, in this folder": [
            f"{command} list",
            f'{command} show "$({psql} -Atc {shlex.quote(LATEST_SAGA)})"',
        ],
        "Read them by SQL": [f"{psql} -c {shlex.quote(query)}" for query in (LATEST_SAGAS, LATEST_STEPS)],
        **(
            {}
            if api is None
            else {f"Or by HTTP, at {api.address}": [f"curl -s {api.address}{path}" for path in PATHS_TO_SHOW]}
        ),
        "In another folder, first": [f"export {environment}"],
    }
