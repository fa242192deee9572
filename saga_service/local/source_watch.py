"""Changes of an author's files, as they are saved: Python modules, YAML definitions, `.env`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread

from watchfiles import Change, DefaultFilter, watch

SUFFIXES = (".py", ".yaml", ".yml")
DEBOUNCE_MS = 400
"""Files that are saved together, as by an editor or by git, are one change."""
STEP_MS = 100


class Changes:
    """The files that have changed since they were last taken."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._paths: set[str] = set()
        self.failed: str | None = None
        """Why nothing is watched any more; None while all is."""

    def add(self, paths: Iterable[str]) -> None:
        with self._lock:
            self._paths.update(paths)

    def take(self) -> list[str]:
        """Return the changed files, by their names relative to the working directory, and forget them."""
        with self._lock:
            paths, self._paths = self._paths, set()
        return sorted(os.path.relpath(path) for path in paths)


@contextmanager
def watched(folders: Iterable[Path], leave_out: Path) -> Iterator[Changes]:
    """Watch the files below these folders in a thread, those in `leave_out` excepted."""
    changes, stop = Changes(), Event()
    thread = Thread(target=_watch, args=(_outermost(folders), leave_out, changes, stop), daemon=True)
    thread.start()
    try:
        yield changes
    finally:
        stop.set()
        thread.join()


def _outermost(folders: Iterable[Path]) -> list[Path]:
    resolved = sorted({folder.resolve() for folder in folders})
    return [folder for folder in resolved if not any(other in folder.parents for other in resolved)]


def _watch(folders: list[Path], leave_out: Path, changes: Changes, stop: Event) -> None:
    wanted = _Sources(ignore_paths=[leave_out.resolve()])
    try:
        for found in watch(
            *folders, watch_filter=wanted, debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=stop, raise_interrupt=False
        ):
            changes.add(path for _, path in found)
    except (OSError, RuntimeError) as error:
        # Too many folders for the system, or a folder that went away: `dev` goes on, and says so.
        changes.failed = str(error)


class _Sources(DefaultFilter):
    ignore_dirs = (*DefaultFilter.ignore_dirs, "venv", "env", ".saga", "site-packages")

    def __call__(self, change: Change, path: str) -> bool:
        is_source = path.endswith(SUFFIXES) or Path(path).name == ".env"
        return is_source and super().__call__(change, path)
