"""Importing the modules of users: their sagas, their workers, their cipher."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType


class NoSuchModule(Exception):
    """No module has this name; the text says where it was looked for."""


def import_user_module(name: str) -> ModuleType:
    """Import the module, which may be in the working directory.

    Raises NoSuchModule, and the exceptions of the module's own code as they are; ImportError where it would end the
    process.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # A module that the user's module fails to import is another matter, and its traceback says more.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise NoSuchModule(_why_not_there(error.name, here)) from None
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        # A module that calls sys.exit(), or a panic of a library: no reason to end without a word.
        told = ImportError(f"{type(error).__name__} was raised: {error}")
        raise told.with_traceback(error.__traceback__) from error


def place_of(error: Exception) -> str | None:
    """Return `file:line` of the user's code that raised, as near as it can be found; None if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in extract_tb(error.__traceback__) if not _is_of_others(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _is_of_others(filename: str) -> bool:
    return filename.startswith(("<", _OUR_FOLDER)) or "importlib" in filename or "site-packages" in filename


_OUR_FOLDER = f"{Path(__file__).parents[1]}{os.sep}"


def _why_not_there(name: str, here: str) -> str:
    if name.endswith(".py"):
        return f"there is no module '{name}': write the module's name without .py, '{name.removesuffix('.py')}'"
    parent = sys.modules.get(name.rpartition(".")[0])
    if parent is not None and not hasattr(parent, "__path__"):
        return (
            f"there is no module '{name}': `{parent.__name__}` is {parent.__file__}, which is no package; "
            "rename one of the two, or put the right one first in PYTHONPATH"
        )
    return f"there is no module '{name}'; it was looked for in {here} and where Python is installed"
