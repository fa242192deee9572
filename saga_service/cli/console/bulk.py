"""Commands that change many things at once: their options, and the question whether a person is sure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from saga_service.admin.failure_kinds import Failure, FailureKind

IN_BULK = "Many at once"
"""The panel of the options that are for many things, and not for one that is named."""

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what is meant, and change nothing.", rich_help_panel=IN_BULK)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you are sure.", rich_help_panel=IN_BULK)]


@dataclass(frozen=True, slots=True)
class Bulk:
    """How a command goes about many things."""

    dry_run: bool
    yes: bool
    as_json: bool

    def confirm(self, what: str) -> None:
        """Ask for a confirmation of `what`, if that is wanted.

        Raises Failure where the person is not sure, or cannot be asked.
        """
        if self.yes:
            return
        if not is_terminal():
            raise Failure(
                f"this would {what}, and there is no terminal to ask on",
                "look with --dry-run, then say --yes",
                kind=FailureKind.INVALID,
            )
        if not typer.confirm(f"{what}?", err=True):
            raise Failure("nothing was changed")


def is_terminal() -> bool:
    """True where somebody can answer a question."""
    return sys.stdin.isatty()
