"""The health file of this process, written by the event loop itself: a loop that is blocked leaves an old file behind.

`health_report` has what is in it, and reads it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from saga_service.base.health_report import LoopHealth, ProcessHealth, health_directory, locked
from saga_service.base.liveness import Liveness

log = structlog.get_logger(__name__)
WRITTEN_EVERY_S = 2.0
NAMES_TRIED_MAX = 100


@dataclass(frozen=True, slots=True)
class Identity:
    """The part of a file that stays as it is."""

    kind: str
    name: str
    services: Sequence[str]
    standstill_s: float


class _HealthFile:
    """An open file under a lock. All methods raise OSError."""

    def __init__(self, directory: Path, kind: str) -> None:
        self._directory = directory
        self._kind = kind
        self._descriptor: int | None = None
        self._path = directory

    def write(self, content: bytes) -> None:
        """Replace the content. The file is made anew where somebody has removed it."""
        if self._descriptor is None or not self._is_there(self._descriptor):
            self.close()
            self._descriptor = self._create()
        # One write and a line's end: a reader that comes in between sees that something is missing.
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def remove(self) -> None:
        """Remove the file, if it is still this one, and let go of the lock."""
        if self._descriptor is not None and self._is_there(self._descriptor):
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the lock, and leave the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _create(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(NAMES_TRIED_MAX):
            self._path = self._directory / f"{self._kind}-{os.getpid()}-{number}.json"
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if locked(descriptor, fcntl.LOCK_EX) and self._is_there(descriptor):
                return descriptor
            os.close(descriptor)
        raise OSError(f"no file of {NAMES_TRIED_MAX} in {self._directory} is free")


@asynccontextmanager
async def kept_health_file(
    directory: Path | str | None,
    identity: Identity,
    liveness: Liveness,
    period_s: float = WRITTEN_EVERY_S,
) -> AsyncIterator[None]:
    """Keep a file that says how this process is, until the block ends, in the default directory for None.

    Where the file cannot be written the log says so once, and the block goes on all the same.
    """
    file = _HealthFile(health_directory(directory), identity.kind)
    _try_to_write(file, identity, liveness, is_first=True)

    async def write_on() -> None:
        while True:
            await asyncio.sleep(period_s)
            _try_to_write(file, identity, liveness)

    writing = asyncio.create_task(write_on())
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        with suppress(OSError):
            file.remove()


def _try_to_write(file: _HealthFile, identity: Identity, liveness: Liveness, *, is_first: bool = False) -> None:
    try:
        file.write(_content(identity, liveness))
    except OSError as error:
        if is_first:
            log.warning(
                "the health file cannot be written, so `saga-service health` will not find this process; "
                "SAGA_HEALTH_DIR names another directory",
                error=str(error),
            )


def _content(identity: Identity, liveness: Liveness) -> bytes:
    health = ProcessHealth(
        kind=identity.kind,
        name=identity.name,
        pid=os.getpid(),
        services=list(identity.services),
        standstill_s=identity.standstill_s,
        written_at_s=time.monotonic(),
        loops=[LoopHealth(loop.name, loop.at_work_since_s) for loop in liveness.loops],
        not_ready="; ".join(liveness.awaited.values()) or None,
    )
    return json.dumps(asdict(health)).encode() + b"\n"
