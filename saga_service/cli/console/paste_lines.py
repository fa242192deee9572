"""The lines that `demo` and `dev` print: how to start sagas on the servers of this machine, and how to read them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from saga_service.cli.access.local import settings_for
from saga_service.cli.console.output import print_heading, print_line
from saga_service.core.state import JsonObject
from saga_service.definitions import Catalog
from saga_service.definitions.schema.samples import input_samples
from saga_service.local.servers import EmbeddedServers
from saga_service.wire.saga_spec import InvalidInput
from saga_service.wire.stream_names import StreamNames

ADDRESSES = ("SAGA_POSTGRES_DSN", "SAGA_REDIS_URL")
LATEST_SAGA = "select id from saga.sagas order by created_at desc limit 1"
LATEST_SAGAS = "select id, saga, key, status, updated_at from saga.sagas order by created_at desc limit 10"
LATEST_STEPS = (
    "select sagas.saga, key, step, steps.status, attempts, output from saga.steps join saga.sagas on id = saga_id "
    "order by created_at desc, id, position limit 20"
)


def demo_entries() -> list[str]:
    """Entries that start missions of the demo, as arguments of XADD."""
    return [f"saga_requests '*' robot_count 2 area {area}" for area in ("ZoneA", "Crater")]


def entries_of(catalog: Catalog) -> list[str]:
    """An entry for each saga that starts it, as arguments of XADD. The data fits the schema and means nothing."""
    events = StreamNames().events
    return [
        f"{events} '*' type {shlex.quote(event_type)} data {shlex.quote(json.dumps(data))}"
        for event_type in catalog.event_types()
        for data in [_sample_input(catalog, event_type)]
    ]


def _sample_input(catalog: Catalog, event_type: str) -> JsonObject:
    """An input that the saga accepts; empty where none is found."""
    spec = catalog.by_event_type(event_type)
    if spec is None:
        return {}
    schema = spec.input.schema
    names = {*schema.get("required", ()), *([] if spec.key is None else [spec.key])}
    for sample in input_samples(schema, names) or ():
        with suppress(InvalidInput):
            spec.business_key(spec.read_input(sample))
            return sample
    return {}


def print_lines_to_paste(servers: EmbeddedServers, entries: Sequence[str], sources: Sequence[str]) -> None:
    """Print lines that can be pasted as they are. `entries` are arguments of XADD, `sources` the definitions."""
    print_line()
    for heading, lines in lines_to_paste(servers, entries, sources).items():
        print_heading(f"{heading}:")
        for line in lines:
            print_line(f"  {line}")


def lines_to_paste(servers: EmbeddedServers, entries: Sequence[str], sources: Sequence[str]) -> dict[str, list[str]]:
    """The lines to paste, by a heading that says what they are for."""
    command = shlex.join([sys.executable, "-m", "saga_service"])
    addresses = {name: value for name, value in settings_for(servers).items() if name in ADDRESSES}
    exported = {**addresses, "SAGA_DEFINITIONS": ",".join(sources)}
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in exported.items())
    redis_cli, psql = servers.redis_cli_command, servers.psql_command
    return {
        "Start sagas": [f"{redis_cli} XADD {entry}" for entry in entries],
        "Read them": [f"{psql} -c {shlex.quote(query)}" for query in (LATEST_SAGAS, LATEST_STEPS)],
        "Look at the latest": [
            f"export {environment}",
            f"{command} list",
            f'{command} show "$({psql} -Atc {shlex.quote(LATEST_SAGA)})"',
        ],
    }


def print_running() -> None:
    """Say that everything runs, and how to end it."""
    typer.echo("\nrunning; Ctrl-C ends it", err=True)
