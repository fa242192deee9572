"""Servers, service and workers on this machine, for `demo` and `dev`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from saga_service.admin.failure_kinds import Failure
from saga_service.local.processes import ChildGroup
from saga_service.local.servers import EmbeddedServerError, EmbeddedServers

DEMO_DEFINITIONS = "saga_service.demo.sagas"
DEMO_WORKERS = tuple(
    f"saga_service.demo.workers:{name}" for name in ("fleet", "planning", "mapping", "inventory", "payment", "shipping")
)
CHECK_S = 0.5
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, and a terminal that is closed."""
ADDRESSES = ("SAGA_POSTGRES_DSN", "SAGA_REDIS_URL")


@contextmanager
def embedded_servers(folder: Path | None) -> Iterator[EmbeddedServers]:
    """Start the servers on a folder, by default a temporary one. Raises Failure where they do not start."""
    try:
        servers = EmbeddedServers(folder).start()
    except EmbeddedServerError as error:
        raise Failure(str(error)) from None
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
    """Raise Failure where one of the children has ended."""
    if dead := children.dead():
        raise Failure("; ".join(f"the process '{child.name}' {child.ending}" for child in dead))


def _is_heeded(number: int) -> bool:
    """False where the signal is ignored: a command started by nohup is meant to outlive the terminal."""
    return signal.getsignal(number) is not signal.SIG_IGN
