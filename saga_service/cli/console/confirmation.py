"""The question whether a person is sure, before a command changes many things at once."""

from __future__ import annotations

import sys

import typer

from saga_service.cli.exits import CommandFailed, ExitCode


def confirm(what: str) -> None:
    """Ask for a confirmation of `what`. Raises CommandFailed where the person is not sure, or cannot be asked."""
    if not is_terminal():
        raise CommandFailed(
            f"this would {what}, and there is no terminal to ask on",
            "look with --dry-run, then say --yes",
            code=ExitCode.USAGE,
        )
    if not typer.confirm(f"{what}?", err=True):
        raise CommandFailed("nothing was changed")


def is_terminal() -> bool:
    """True where somebody can answer a question."""
    return sys.stdin.isatty()
