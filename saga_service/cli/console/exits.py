"""How commands end: exit codes that scripts can use, and failures as one line."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code means."""

    FINE = 0
    PROBLEM = 1
    """A problem was found, or what was asked for was not; or a saga refused what was asked of it."""
    USAGE = 2
    """The arguments or the settings are wrong."""
    UNREACHABLE = 3
    """Postgres or Redis cannot be used."""
    SCHEMA = 4
    """The database schema does not fit this version."""
    COMPENSATED = 5
    STUCK = 6
    NOT_YET = 7
    """What was waited for had not come in time: the saga's end, or the answer to a request."""


EXIT_CODES_HELP = (
    "Exit codes: 0 fine, 1 a problem was found or something was not found, 2 wrong arguments or settings, "
    "3 Postgres or Redis cannot be used, 4 the database schema does not fit. "
    "After waiting for a saga: 0 completed, 5 compensated, 6 stuck, 7 not ended in time. "
    "After asking something of sagas: 0 done or so already, 1 some refused, 7 not answered in time."
)


class CommandFailed(Exception):
    """The command cannot go on. The text is for people: what, where, and what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.PROBLEM) -> None:
        super().__init__(message)
        self.code = code
