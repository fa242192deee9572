"""Reports of health: what the processes of this machine say of themselves, read from their files, without a server.

A process holds a lock on its file for as long as it lives: a file without a lock is what a dead process has left,
whoever has its id by now. Times in a file are of the monotonic clock, which all processes of one machine share and
nobody sets. The standard library alone is imported here, for containers run `health` every few seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path

OLD_AFTER_S = 30.0
"""The age of a file whose process does not get to write it: its event loop is blocked, or the process is stopped."""


@dataclass(frozen=True, slots=True)
class LoopHealth:
    """One loop of a process; `at_work_since_s` is None for a loop that waits."""

    name: str
    at_work_since_s: float | None


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """What a process says of itself."""

    kind: str
    """`service`, `worker`, or `http` for the HTTP API."""
    name: str
    """The name in consumer groups."""
    pid: int
    services: list[str]
    """The services whose commands a worker carries out; none for the service."""
    standstill_s: float
    """How long a loop of this process may be at work without a move."""
    written_at_s: float
    loops: list[LoopHealth] = field(default_factory=list)
    not_ready: str | None = None
    """What keeps the process from its work, None where nothing does."""

    def standing_still(self, now_s: float) -> Iterator[tuple[str, float]]:
        """What stands still, and for how many seconds."""
        age_s = now_s - self.written_at_s
        if age_s > OLD_AFTER_S:
            yield "the event loop", age_s
            return
        for loop in self.loops:
            if loop.at_work_since_s is not None and now_s - loop.at_work_since_s > self.standstill_s:
                yield f"the loop '{loop.name}'", now_s - loop.at_work_since_s


def health_directory(given: Path | str | None) -> Path:
    """The directory that is given, or else this user's own in the temporary directory of this machine."""
    return Path(given) if given else Path(tempfile.gettempdir()) / f"saga-service-{os.getuid()}"


def read_health_reports(directory: Path) -> list[ProcessHealth]:
    """How the living processes of a directory are. Files of dead ones are removed. Raises PermissionError."""
    try:
        paths = sorted(directory.glob("*.json"))
    except FileNotFoundError:
        return []
    return [health for path in paths if (health := _read(path)) is not None]


def _read(path: Path) -> ProcessHealth | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if locked(descriptor, fcntl.LOCK_SH):
            with suppress(OSError):
                path.unlink()
            return None
        return _parsed(descriptor)
    finally:
        os.close(descriptor)


_FIELDS = [each.name for each in fields(ProcessHealth)]


def _parsed(descriptor: int) -> ProcessHealth | None:
    """The content, None before the first one is written."""
    for _ in range(3):
        try:
            given = json.loads(os.pread(descriptor, 1_000_000, 0))
        except ValueError:
            # In the middle of a write.
            time.sleep(0.01)
            continue
        known = {name: given[name] for name in _FIELDS if name in given}
        return ProcessHealth(**{**known, "loops": [LoopHealth(**loop) for loop in given["loops"]]})
    return None


def locked(descriptor: int, kind: int) -> bool:
    """Take a lock of this kind (LOCK_SH, LOCK_EX) at once; false where another process has one against it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
