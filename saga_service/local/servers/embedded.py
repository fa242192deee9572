"""The two servers together, on one folder: what a demo, a first run or a test needs of infrastructure."""

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

from saga_service.local.servers.postgres import EmbeddedPostgres
from saga_service.local.servers.process import stop_servers_on
from saga_service.local.servers.programs import EmbeddedServerError, redis_cli
from saga_service.local.servers.redis import EmbeddedRedis

LOCK_SECONDS_MAX = 30.0
LOCK_POLL_SECONDS = 0.1


class EmbeddedServers:
    """A real Postgres and a real Redis-compatible server, started by `with` or `start`, gone after it.

    The data lies in `folder` and is kept, or, without one, in a temporary folder that goes with the servers; it is
    made in `temporary_in`, by default where the system has such folders. The addresses stay the same when a server is
    killed and started again. Every call blocks for as long as the server takes; asyncio code calls by
    `asyncio.to_thread`.

    Both servers end with this process, even if it is killed: another process watches for that. Only if that one is
    killed too do they stay, until the next start on the same folder ends them.
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
        self._guardian: subprocess.Popen[bytes] | None = None
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
        """A line for a shell that opens the database."""
        return shlex.join([str(self.postgres.psql_program), self.postgres_dsn])

    @property
    def redis_cli_command(self) -> str:
        """The beginning of a line for a shell: a Redis command goes behind it. Without a real client here, our own."""
        client = redis_cli()
        if client is None:
            return shlex.join([sys.executable, "-m", "saga_service.local.servers.redis_cli", "-u", self.redis_url])
        return shlex.join([str(client), "-u", self.redis_url])

    def start(self) -> Self:
        """Start both and return when both answer. Raises EmbeddedServerError."""
        self._prepare_folder()
        try:
            self._postgres = EmbeddedPostgres(self.folder)
            self._redis = EmbeddedRedis(self.folder, self._redis_program)
            self._guardian = self._start_guardian()
            self._redis.start()
            self._postgres.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End both in good order. Kept data stays; temporary data goes. Harmless when they never ran."""
        for server in (self._redis, self._postgres):
            if server is not None:
                server.stop()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._dismiss_guardian()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill_postgres(self) -> None:
        """SIGKILL to Postgres and all its processes."""
        self.postgres.kill()

    def start_postgres(self) -> None:
        """Start it again, on the same data and at the same address."""
        self.postgres.start()

    def kill_redis(self) -> None:
        """SIGKILL to the Redis-compatible server."""
        self.redis.kill()

    def start_redis(self) -> None:
        """Start it again, on the same data and at the same address."""
        self.redis.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Others may pass through (Postgres' own user has to) but not look around.
        self.folder.chmod(0o711)
        self._lock = _locked(self.folder / "lock")
        stop_servers_on(self.folder)

    def _start_guardian(self) -> subprocess.Popen[bytes]:
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

    def _dismiss_guardian(self) -> None:
        if self._guardian is None:
            return
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._guardian.wait()
        self._guardian = None


def _locked(path: Path) -> IO[bytes]:
    # The servers of a process that was killed a moment ago may still be on their way out.
    lock = path.open("wb")
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise EmbeddedServerError(
                    f"another process uses the embedded servers in {path.parent}: stop it, or choose another folder"
                ) from None
            time.sleep(LOCK_POLL_SECONDS)
