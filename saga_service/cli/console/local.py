"""Servers, service and workers on this machine, for `demo` and `dev`, and the lines to paste that use them."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from saga_service.cli.console.output import print_heading, print_line
from saga_service.cli.exits import CommandFailed
from saga_service.core.state import JsonObject
from saga_service.definitions import Catalog
from saga_service.definitions.schema.samples import input_samples
from saga_service.local.processes import ChildGroup
from saga_service.local.servers import EmbeddedServerError, EmbeddedServers
from saga_service.wire.saga_spec import InvalidInput
from saga_service.wire.transport import PREFIX_DEFAULT, StreamNames

DEMO_DEFINITIONS = "saga_service.demo.sagas"
DEMO_WORKERS = tuple(
    f"saga_service.demo.workers:{name}" for name in ("fleet", "planning", "mapping", "inventory", "payment", "shipping")
)
CHECK_S = 0.5
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, and a terminal that is closed."""
ADDRESSES = ("SAGA_POSTGRES_DSN", "SAGA_REDIS_URL")
LATEST_SAGA = "select id from saga.sagas order by created_at desc limit 1"
LATEST_SAGAS = "select id, saga, key, status, updated_at from saga.sagas order by created_at desc limit 10"
LATEST_STEPS = (
    "select sagas.saga, key, step, steps.status, attempts, output from saga.steps join saga.sagas on id = saga_id "
    "order by created_at desc, id, position limit 20"
)


@contextmanager
def embedded_servers(folder: Path | None) -> Iterator[EmbeddedServers]:
    """Start the servers on a folder, by default a temporary one. Raises CommandFailed where they do not start."""
    try:
        servers = EmbeddedServers(folder).start()
    except EmbeddedServerError as error:
        raise CommandFailed(str(error)) from None
    try:
        yield servers
    finally:
        servers.stop()


def settings_for(servers: EmbeddedServers) -> dict[str, str]:
    """The environment in which every `saga-service` command finds these servers."""
    return {
        "SAGA_POSTGRES_DSN": servers.postgres_dsn,
        "SAGA_REDIS_URL": servers.redis_url,
        # One machine, one person watching: what a dead process left is taken over in a blink.
        "SAGA_RECLAIM_IDLE_MS": "2000",
        "SAGA_RECLAIM_PERIOD_MS": "500",
        "SAGA_MIGRATE_AT_START": "true",
    }


def stay_until_signal(look: Callable[[], None]) -> None:
    """Wait for one of END_SIGNALS, and look now and then. A line says so once the signals are listened for.

    Raises what `look` raises.
    """
    ended = threading.Event()
    before = [(number, signal.signal(number, lambda *_: ended.set())) for number in END_SIGNALS if _is_heeded(number)]
    typer.echo("\nrunning; Ctrl-C ends it", err=True)
    try:
        while not ended.wait(CHECK_S):
            look()
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def fail_if_dead(children: ChildGroup) -> None:
    """Raise CommandFailed where one of the children has ended."""
    if dead := children.dead():
        names = ", ".join(child.name for child in dead)
        raise CommandFailed(f"ended by itself: {names}", "see the log above")


def _is_heeded(number: int) -> bool:
    """False where the signal is ignored: a command started by nohup is meant to outlive the terminal."""
    return signal.getsignal(number) is not signal.SIG_IGN


def demo_entries() -> list[str]:
    """Entries that start missions of the demo, as arguments of XADD."""
    return [f"saga_requests '*' robot_count 2 area {area}" for area in ("ZoneA", "Crater")]


def entries_of(catalog: Catalog, stream_prefix: str = PREFIX_DEFAULT) -> list[str]:
    """An entry for each saga that starts it, as arguments of XADD. The data fits the schema and means nothing."""
    events = StreamNames(stream_prefix).events
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
            spec.business_key(sample, spec.read_input(sample))
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
        "Look at the latest, in this folder": [
            f"{command} list",
            f'{command} show "$({psql} -Atc {shlex.quote(LATEST_SAGA)})"',
        ],
        "In another folder, first": [f"export {environment}"],
    }
