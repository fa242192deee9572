"""Importing what authors wrote: their sagas, their workers, their codec."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType


class NoSuchModule(Exception):
    """There is no module of this name; the text says where it was looked for."""


def author_module(name: str) -> ModuleType:
    """The module, which may stand in the working directory.

    Raises NoSuchModule, and whatever goes wrong inside the module while it is imported as it is.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # A module that the author's module misses is another matter, and its traceback says more.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise NoSuchModule(
            f"there is no module '{error.name}'; it was looked for in {here} and where Python is installed"
        ) from None
