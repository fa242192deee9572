"""From `module:attribute` to a worker."""

from __future__ import annotations

from types import ModuleType

from saga_service.author_modules import NoSuchModule, author_module
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
    try:
        module = author_module(module_name)
    except NoSuchModule as error:
        raise WorkerNotLoaded(str(error)) from None
    found = getattr(module, attribute, None)
    if isinstance(found, Worker):
        return found
    raise WorkerNotLoaded(_what_is_wrong(module, attribute, found))


def _what_is_wrong(module: ModuleType, attribute: str, found: object) -> str:
    workers = sorted(name for name, value in vars(module).items() if isinstance(value, Worker))
    there = f"its workers: {', '.join(workers)}" if workers else "it has no worker at its top level"
    if found is None:
        return f"module '{module.__name__}' has no '{attribute}'; {there}"
    return f"'{attribute}' of module '{module.__name__}' is of type {type(found).__name__}, and not a Worker; {there}"
