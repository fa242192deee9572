"""One server's process: started apart from the terminal, watched until it answers, stopped or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from saga_service.local.servers.programs import Account, EmbeddedServerError

START_S_MAX = 60.0
STOP_S_MAX = 20.0
POLL_S = 0.02


class ServerProcess:
    """A server that runs in a session of its own, so that Ctrl-C in the terminal does not end it."""

    def __init__(self, name: str, log: Path, account: Account, stop_signal: signal.Signals) -> None:
        self._name = name
        self._log = log
        self._account = account
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise EmbeddedServerError(f"the embedded {self._name} has no process before it has started")
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, command: Sequence[str | Path], answers: Callable[[], bool]) -> None:
        """Start, and return once `answers`. Raises EmbeddedServerError with the end of the server's log."""
        if self.is_running():
            return
        with self._log.open("ab") as log:
            self._process = run_apart(command, log.fileno(), self._account)
        deadline = time.monotonic() + START_S_MAX
        while not answers():
            if not self.is_running():
                raise EmbeddedServerError(f"the embedded {self._name} did not start: {log_tail(self._log)}")
            if time.monotonic() > deadline:
                self.kill()
                raise EmbeddedServerError(
                    f"the embedded {self._name} did not answer within {START_S_MAX:.0f} s: see {self._log}"
                )
            time.sleep(POLL_S)

    def stop(self) -> None:
        """An orderly end; a server that does not come to it in time is killed."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to the server and all that it started, as in a power failure. Returns when they are gone."""
        if self._process is None:
            return
        processes = _with_children(self._process.pid)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        wait_until_gone(processes, STOP_S_MAX)
        self._process = None


def run_apart(command: Sequence[str | Path], output: int, account: Account) -> subprocess.Popen[bytes]:
    """Start a program without terminal, in a plain environment. Raises EmbeddedServerError."""
    # A locale or PG* variables of the caller must not change what the server does.
    environment = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath), "HOME": "/"}
    try:
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # the account's options come as a mapping
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=environment,
            **account.popen_options(),
        )
    except OSError as error:
        raise EmbeddedServerError(f"cannot run {command[0]} as {account.name or 'this user'}: {error}") from error


def wait_until_gone(processes: Sequence[psutil.Process], wait_s_max: float) -> list[psutil.Process]:
    """Wait for processes, children of this one or not. Returns those that still run after `wait_s_max`."""
    deadline = time.monotonic() + wait_s_max
    while (left := [process for process in processes if not _is_gone(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return left


def _is_gone(process: psutil.Process) -> bool:
    # A zombie holds nothing any more; who should collect it may take seconds over it.
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def log_tail(log: Path) -> str:
    """The last line of a log that tells of an error, else its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    of_errors = [line for line in lines if "FATAL" in line or "rror" in line] or lines
    return f"{of_errors[-1].strip()} (log: {log})" if of_errors else f"nothing in its log {log}"


def _with_children(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


SERVERS = {
    "postgres": signal.SIGINT,
    "initdb": signal.SIGTERM,
    "valkey-server": signal.SIGTERM,
    "redis-server": signal.SIGTERM,
}
"""The programs that may run on a folder, and the signal that shuts each down."""
LEFTOVERS_STOP_S_MAX = 20.0


def stop_servers_on(folder: Path) -> None:
    """End every server that works on data in `folder`, by force where it does not end in time."""
    servers = [process for process in psutil.process_iter() if _works_on(folder, process)]
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            server.send_signal(SERVERS[server.name()])
    for server in wait_until_gone(servers, LEFTOVERS_STOP_S_MAX):
        with suppress(psutil.NoSuchProcess):
            server.kill()


def _works_on(folder: Path, process: psutil.Process) -> bool:
    try:
        command = process.cmdline() if process.name() in SERVERS else []
    except psutil.Error:
        return False
    return any(part.startswith(f"{folder}{os.sep}") for part in command)
