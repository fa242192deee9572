"""Servers that work on a folder although nobody holds on to them any more."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from saga_service.embedded.process import wait_until_gone

SERVERS = {
    "postgres": signal.SIGINT,
    "initdb": signal.SIGTERM,
    "valkey-server": signal.SIGTERM,
    "redis-server": signal.SIGTERM,
}
"""The programs that may run on a folder, and the signal for an orderly end of each."""
STOP_SECONDS_MAX = 20.0


def stop_servers_on(folder: Path) -> None:
    """End every server that works on data in `folder`, by force where it does not end in time."""
    servers = [process for process in psutil.process_iter() if _works_on(folder, process)]
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            server.send_signal(SERVERS[server.name()])
    for server in wait_until_gone(servers, STOP_SECONDS_MAX):
        with suppress(psutil.NoSuchProcess):
            server.kill()


def _works_on(folder: Path, process: psutil.Process) -> bool:
    try:
        command = process.cmdline() if process.name() in SERVERS else []
    except psutil.Error:
        return False
    return any(part.startswith(f"{folder}{os.sep}") for part in command)
