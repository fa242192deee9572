"""Importing a worker by `module:attribute`."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from saga_service.base.user_modules import NoSuchModule, import_user_module, place_of
from saga_service.worker.errors import WrongHandler
from saga_service.worker.worker import Worker


class WorkerNotLoaded(Exception):
    """No worker that can run is named by a `module:attribute`; the text, one line, says why, and where if it can."""


def load_worker(target: str) -> Worker:
    """Import the worker that `module:attribute` names, `shop.workers:payment` for example.

    The working directory is searched for the module as well. Raises WorkerNotLoaded.
    """
    module_name, colon, attribute = target.partition(":")
    if not (colon and module_name and attribute) or module_name.startswith("."):
        raise WorkerNotLoaded(f"'{target}' must be written MODULE:WORKER, such as shop.workers:payment")
    module = _imported(module_name)
    found = getattr(module, attribute, None)
    if not isinstance(found, Worker):
        raise WorkerNotLoaded(_why_no_worker(module, attribute, found))
    try:
        found.check()
    except _RAISED_BY_WORKERS as error:
        raise WorkerNotLoaded(f"{module.__file__}: {error}") from None
    return found


_RAISED_BY_WORKERS = (WrongHandler, ValueError)


def _imported(module_name: str) -> ModuleType:
    try:
        return import_user_module(module_name)
    except NoSuchModule as error:
        raise WorkerNotLoaded(str(error)) from None
    except Exception as error:
        # The module is the author's, and so is the mistake: it is reported with its place, without a traceback.
        raise WorkerNotLoaded(_why_not_imported(module_name, error)) from error


def _why_not_imported(module_name: str, error: Exception) -> str:
    place, text = place_of(error) or module_name, " ".join(str(error).split())
    if isinstance(error, _RAISED_BY_WORKERS) and _is_our_own(error):
        return f"{place}: {text}"
    return f"{place}: cannot be imported: {type(error).__name__}: {text}"


def _is_our_own(error: Exception) -> bool:
    # Our own texts say what to write; those of other libraries need the exception's name to be understood.
    last = extract_tb(error.__traceback__)[-1]
    return Path(last.filename).parent == Path(__file__).parent


def _why_no_worker(module: ModuleType, attribute: str, found: object) -> str:
    workers = sorted(name for name, value in vars(module).items() if isinstance(value, Worker))
    there = f"its workers: {', '.join(workers)}" if workers else "it has no worker at its top level"
    if found is None:
        return f"module '{module.__name__}' has no '{attribute}'; {there}"
    return f"'{attribute}' of module '{module.__name__}' is of type {type(found).__name__} and no Worker; {there}"
