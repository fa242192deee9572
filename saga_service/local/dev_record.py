"""The folder of a `dev`, which git does not see, and the record in it by which other commands find its servers.

`dev` writes the record into `.saga` in its working directory; a command looks there, and in the folders above. A record
counts only while the process that wrote it lives.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

DEV_FOLDER = ".saga"
"""Where `dev` keeps its record, and by default its servers' data; relative to its working directory."""
_FILE = "dev.json"
GIT_FILE = ".gitignore"


def make_data_folder(folder: Path) -> bool:
    """Make a folder for the data of local servers, unseen by git, and return True; False where it is there already.

    Raises OSError.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if is_new:
        (folder / GIT_FILE).write_text("*\n")
    return is_new


@dataclass(frozen=True, slots=True)
class RunningDev:
    """A `dev` that runs, or a `demo` that stays up: its folder, process, and the settings that lead to its servers."""

    folder: Path
    pid: int
    settings: Mapping[str, str]
    command: str


def running_dev(below: Path) -> RunningDev | None:
    """Find the `dev` that runs in this folder, or in the nearest one above it; None where none does."""
    for folder in (below, *below.parents):
        path = folder / DEV_FOLDER / _FILE
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            if path.stat().st_uid == os.getuid():
                written = json.loads(_text_if_alive(path))
                settings = {str(name): str(value) for name, value in written["settings"].items()}
                return RunningDev(folder, int(written["pid"]), settings, str(written["command"]))
    return None


def ended_dev(below: Path) -> Path | None:
    """Find this folder, or the nearest one above it, in which a `dev` has run and runs no more; None without one."""
    return next((folder for folder in (below, *below.parents) if (folder / DEV_FOLDER).is_dir()), None)


def _text_if_alive(path: Path) -> str:
    """The record's text; empty where nobody holds it. The system lets go of a lock when its process ends."""
    with path.open() as record:
        try:
            fcntl.flock(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return record.read()
        return ""


@contextmanager
def recorded(folder: Path, settings: Mapping[str, str], command: str = "dev") -> Iterator[None]:
    """Keep the record of this process while the context lasts. Where it cannot be written, others do not find it.

    `command` is the one that runs. A folder that was made for the record goes with it.
    """
    path = folder / DEV_FOLDER / _FILE
    is_new = False
    try:
        is_new = make_data_folder(path.parent)
        # Never another process's file: that one may still be read, or be held.
        path.unlink(missing_ok=True)
        record = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except OSError:
        yield
        return
    with record:
        fcntl.flock(record, fcntl.LOCK_EX)
        json.dump({"pid": os.getpid(), "settings": dict(settings), "command": command}, record)
        record.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                if path.stat().st_ino == os.fstat(record.fileno()).st_ino:
                    path.unlink()
                if is_new:
                    (path.parent / GIT_FILE).unlink()
                    path.parent.rmdir()
