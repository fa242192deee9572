"""An embedded Postgres on one data folder and at one address."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path

from saga_service.local.servers.process import ServerProcess, log_tail, run_apart
from saga_service.local.servers.programs import (
    EmbeddedServerError,
    closed_folder_above,
    everybody_may_enter,
    postgres_account,
    reachable_postgres_programs,
)

USER = "saga"
DATABASE = "saga"
SOCKET_PATH_BYTES_MAX = 100
SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # In the data folder: what a killed server leaves there goes with it, and nothing stays in the machine's memory.
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "200",
    "timezone": "UTC",
    "logging_collector": "off",
}


class EmbeddedPostgres:
    """Postgres on a unix socket in its own folder. No port is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._data = self._folder / "postgres"
        self.had_data = self._has_data()
        """True if the folder has the data of earlier servers. Whoever asks has the folder for its own."""
        self._log = self._folder / "postgres.log"
        self._account = postgres_account()
        self._short_socket_folder: tempfile.TemporaryDirectory[str] | None = None
        self._process = ServerProcess("Postgres", self._log, self._account, signal.SIGINT)

    @property
    def dsn(self) -> str:
        return f"postgresql://{USER}@/{DATABASE}?host={self._socket_folder}"

    @property
    def psql_program(self) -> Path:
        return reachable_postgres_programs(self._account, self._folder) / "psql"

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.is_running()

    def _has_data(self) -> bool:
        return (self._data / "PG_VERSION").exists()

    def start(self) -> None:
        """Start on the data that is there, or on new data. Raises EmbeddedServerError."""
        self._programs = reachable_postgres_programs(self._account, self._folder)
        self._check_that_the_account_gets_in()
        is_new = not self._has_data()
        if is_new:
            self._make_data()
        self._process.start(self._command(), self._answers)
        if is_new:
            self._run("createdb", "-h", str(self._socket_folder), "-U", USER, DATABASE)

    def stop(self) -> None:
        self._process.stop()
        if self._short_socket_folder is not None:
            self._short_socket_folder.cleanup()
            self._short_socket_folder = None

    def kill(self) -> None:
        self._process.kill()

    @property
    def _socket_folder(self) -> Path:
        if len(str(self._data / ".s.PGSQL.5432").encode()) <= SOCKET_PATH_BYTES_MAX:
            return self._data
        if self._short_socket_folder is None:
            self._short_socket_folder = tempfile.TemporaryDirectory(prefix="saga-", dir="/tmp")
            self._account.owns(Path(self._short_socket_folder.name))
        return Path(self._short_socket_folder.name)

    def _command(self) -> list[str | Path]:
        command: list[str | Path] = [self._programs / "postgres", "-D", self._data, "-k", self._socket_folder]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _answers(self) -> bool:
        command: list[str | Path] = [
            self._programs / "pg_isready",
            "-q",
            "-h",
            self._socket_folder,
            "-U",
            USER,
            "-d",
            DATABASE,
        ]
        return subprocess.run(command, capture_output=True).returncode == 0

    def _make_data(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)
        self._account.owns(self._data)
        self._run("initdb", "-D", self._data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C")

    def _run(self, program: str, *arguments: str | Path) -> None:
        with self._log.open("ab") as log:
            exit_code = run_apart([self._programs / program, *arguments], log.fileno(), self._account).wait()
        if exit_code != 0:
            raise EmbeddedServerError(f"{program} of the embedded Postgres failed: {log_tail(self._log)}")

    def _check_that_the_account_gets_in(self) -> None:
        if self._account.name is None or everybody_may_enter(self._folder):
            return
        closed = closed_folder_above(self._data)
        raise EmbeddedServerError(
            f"Postgres does not run as root, and its stand-in '{self._account.name}' may not enter {closed}: "
            f"choose a folder elsewhere, or run  chmod o+x {closed}"
        )
