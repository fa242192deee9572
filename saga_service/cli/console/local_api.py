"""The HTTP API beside `dev` and `demo --keep`, in a process of its own: its address outlives each start of the rest."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import typer

from saga_service.cli.exits import EXTRA_OF_MODULE
from saga_service.local.processes import ChildGroup
from saga_service.settings import Settings

HOST = "127.0.0.1"
ANSWERS_S_MAX = 15.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class LocalApi:
    """The process that serves the API, and its address."""

    address: str
    port: int
    children: ChildGroup

    def wait_until_it_answers(self) -> None:
        """Wait for the first answer, ANSWERS_S_MAX at most, and while the process lives."""
        ends_at_s = time.monotonic() + ANSWERS_S_MAX
        while not self.children.dead() and time.monotonic() < ends_at_s:
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1.0):
                return
            time.sleep(POLL_S)

    def tell_if_dead(self) -> None:
        """Say once that the process has ended. All else goes on without it."""
        for child in self.children.dead():
            self.children.forget(child)
            typer.echo(f"\nthe HTTP API at {self.address} {child.ending}", err=True)


@contextmanager
def local_api(environment: Mapping[str, str], own: Settings, folder: Path | None = None) -> Iterator[LocalApi | None]:
    """Serve the API until the block ends; where its extra is not installed, say what to install, and yield None.

    `environment` leads to the servers; `folder` is as for `ChildGroup`. The port is the one that is set, else the
    default one, else any that is free.
    """
    if not _extra_is_there():
        typer.echo("the HTTP API is not served: pip install 'saga-service[http]'", err=True)
        yield None
        return
    port = own.http_port if "http_port" in own.model_fields_set and own.http_port else free_port(own.http_port)
    settings = {**environment, "SAGA_HTTP_PORT": str(port), "SAGA_HTTP_HOST": HOST}
    with ChildGroup(settings, folder) as children:
        children.start("http", "http")
        yield LocalApi(f"http://{HOST}:{port}{own.http_root_path}", port, children)


def _extra_is_there() -> bool:
    modules = (module for module, extra in EXTRA_OF_MODULE.items() if extra.name == "http")
    return all(find_spec(module) is not None for module in modules)


def free_port(preferred: int) -> int:
    """The preferred port where nobody has it, else another one."""
    for port in (preferred, 0):
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((HOST, port))
            except OSError:
                continue
            free: int = listening.getsockname()[1]
            return free
    raise OSError(f"no port of {HOST} is free")
