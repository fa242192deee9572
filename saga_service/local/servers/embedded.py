"""Both servers together, on one folder."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from saga_service.local.dev_record import make_data_folder
from saga_service.local.servers.postgres import EmbeddedPostgres
from saga_service.local.servers.process import stop_servers_on
from saga_service.local.servers.programs import EmbeddedServerError, for_shell, redis_cli
from saga_service.local.servers.redis import EmbeddedRedis

LOCK_S_MAX = 30.0
LOCK_POLL_S = 0.1
PROCESS_CHARACTERS_MAX = 20
OWN_REDIS_CLI = "saga_service.local.servers.redis_cli"


class EmbeddedServers:
    """A real Postgres and a real Redis-compatible server, started by `with` or `start`.

    The data is kept in `folder`. Without one it is in a temporary folder, made in `temporary_in` and removed with the
    servers. The addresses stay the same when a server is killed and started again. Every call blocks for as long as
    the server takes; asyncio code calls by `asyncio.to_thread`.

    Both servers end with this process, even if it is killed: a watchdog process sees to it. If the watchdog is killed
    too, the next start on the same folder ends them.
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        temporary_in: Path | None = None,
        redis_program: Path | None = None,
    ) -> None:
        self._is_temporary = folder is None
        chosen = tempfile.mkdtemp(prefix="saga-", dir=temporary_in) if folder is None else folder
        self.folder = Path(chosen).expanduser().resolve()
        self._redis_program = redis_program
        self._lock: IO[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._redis: EmbeddedRedis | None = None

    @property
    def postgres(self) -> EmbeddedPostgres:
        if self._postgres is None:
            raise EmbeddedServerError("the embedded servers have not been started")
        return self._postgres

    @property
    def redis(self) -> EmbeddedRedis:
        if self._redis is None:
            raise EmbeddedServerError("the embedded servers have not been started")
        return self._redis

    @property
    def postgres_dsn(self) -> str:
        return self.postgres.dsn

    @property
    def redis_url(self) -> str:
        return self.redis.url

    @property
    def psql_command(self) -> str:
        """A shell command that opens the database."""
        return f"{for_shell(self.postgres.psql_program)} {shlex.quote(self.postgres_dsn)}"

    @property
    def redis_cli_command(self) -> str:
        """A shell command that opens a prompt, or carries out the Redis command behind it.

        Without a real client it is our own.
        """
        client = redis_cli()
        program = f"{for_shell(Path(sys.executable))} -m {OWN_REDIS_CLI}" if client is None else for_shell(client)
        return f"{program} -u {shlex.quote(self.redis_url)}"

    def start(self) -> Self:
        """Start both and return when both answer. Raises EmbeddedServerError."""
        self._prepare_folder()
        try:
            self._postgres = EmbeddedPostgres(self.folder)
            self._redis = EmbeddedRedis(self.folder, self._redis_program)
            self._watchdog = self._start_watchdog()
            self._redis.start()
            self._postgres.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop both, also where they never started. A given folder keeps its data, a temporary one is removed."""
        if self._lock is not None:
            # Whoever comes now has a moment to wait, and no other process to look for.
            self._lock.truncate(0)
        for server in (self._redis, self._postgres):
            if server is not None:
                server.stop()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._end_watchdog()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_folder(self) -> None:
        make_data_folder(self.folder)
        # Others may pass through (Postgres' own user has to) but not look around.
        self.folder.chmod(0o711)
        self._lock = _locked(self.folder / "lock")
        stop_servers_on(self.folder)

    def _start_watchdog(self) -> subprocess.Popen[bytes]:
        kind = "temporary" if self._is_temporary else "kept"
        packages = str(Path(__file__).parents[3])
        return subprocess.Popen(
            [sys.executable, "-m", "saga_service.local.servers.watchdog", str(self.folder), kind],
            env={**os.environ, "PYTHONPATH": packages},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _end_watchdog(self) -> None:
        if self._watchdog is None:
            return
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._watchdog.wait()
        self._watchdog = None


def _locked(path: Path) -> IO[bytes]:
    """Lock the folder for this process, whose id the file then has until it stops the servers.

    Raises EmbeddedServerError at once where another process uses the servers.
    """
    # Not truncated before it is locked: it may have another process's id.
    lock = path.open("a+b")
    # A process that was stopped a moment ago may still be on its way out.
    deadline = time.monotonic() + LOCK_S_MAX
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _process_in(lock)
            if holder is not None or time.monotonic() > deadline:
                lock.close()
                named = "another process" if holder is None else f"process {holder}"
                raise EmbeddedServerError(
                    f"{named} uses the embedded servers in {path.parent}: stop it, or choose another folder"
                ) from None
            time.sleep(LOCK_POLL_S)
        else:
            lock.truncate(0)
            lock.write(f"{os.getpid()}".encode())
            lock.flush()
            return lock


def _process_in(lock: IO[bytes]) -> int | None:
    """The process that has written its id into the file; None where there is none, or none that lives."""
    lock.seek(0)
    written = lock.read(PROCESS_CHARACTERS_MAX).decode(errors="replace")
    if not written.isdecimal():
        return None
    try:
        os.kill(int(written), 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        pass
    return int(written)
