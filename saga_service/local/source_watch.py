"""Changes of an author's files, as they are saved: Python modules, YAML definitions, `.env`."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
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
def watched(folders: Iterable[Path], leave_out: Path, modules: Collection[str] = ()) -> Iterator[Changes]:
    """Watch the files below these folders in a thread, those in `leave_out` excepted.

    Tests are left out too, but for those that are among these modules or that this process has imported.
    """
    changes, stop = Changes(), Event()
    wanted = _Sources(leave_out, modules)
    thread = Thread(target=_watch, args=(_outermost(folders), wanted, changes, stop), daemon=True)
    thread.start()
    try:
        yield changes
    finally:
        stop.set()
        thread.join()


def _outermost(folders: Iterable[Path]) -> list[Path]:
    resolved = sorted({folder.resolve() for folder in folders})
    return [folder for folder in resolved if not any(other in folder.parents for other in resolved)]


def _watch(folders: list[Path], wanted: _Sources, changes: Changes, stop: Event) -> None:
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

    def __init__(self, leave_out: Path, modules: Collection[str]) -> None:
        super().__init__(ignore_paths=[leave_out.resolve()])
        self._files = {f"{module.rpartition('.')[2]}.py" for module in modules}

    def __call__(self, change: Change, path: str) -> bool:
        name = Path(path).name
        is_source = name.endswith(SUFFIXES) or name == ".env"
        return is_source and super().__call__(change, path) and (not _is_test(name) or self._is_loaded(path))

    def _is_loaded(self, path: str) -> bool:
        imported = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        return Path(path).name in self._files or path in imported


def _is_test(name: str) -> bool:
    return name == "conftest.py" or (name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py")))
