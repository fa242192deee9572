"""From `module:attribute` to a worker."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from saga_service.worker.worker import Worker


class WorkerNotLoaded(Exception):
    """`module:attribute` names no worker; the text says what is missing."""


def load_worker(target: str) -> Worker:
    """The worker that `module:attribute` names, `shop.workers:payment` for example.

    The working directory is searched for the module as well. Raises WorkerNotLoaded; whatever goes wrong inside the
    module while it is imported comes as it is.
    """
    module_name, colon, attribute = target.partition(":")
    if not (colon and module_name and attribute) or module_name.startswith("."):
        raise WorkerNotLoaded(f"'{target}' must be written MODULE:WORKER, such as shop.workers:payment")
    found = getattr(_module(module_name), attribute, None)
    if isinstance(found, Worker):
        return found
    raise WorkerNotLoaded(_what_is_wrong(module_name, attribute, found))


def _module(name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # A module that the author's module misses is another matter, and its traceback says more.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise WorkerNotLoaded(
            f"there is no module '{error.name}'; it was looked for in {here} and where Python is installed"
        ) from None


def _what_is_wrong(module_name: str, attribute: str, found: object) -> str:
    workers = sorted(name for name, value in vars(sys.modules[module_name]).items() if isinstance(value, Worker))
    there = f"its workers: {', '.join(workers)}" if workers else "it has no worker at its top level"
    if found is None:
        return f"module '{module_name}' has no '{attribute}'; {there}"
    return f"'{attribute}' of module '{module_name}' is of type {type(found).__name__}, and not a Worker; {there}"
