"""A group of commands that imports a command's module when that command is run, or asked for its own help.

The group's own help is made from a table alone, so it costs no import of what the commands work with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.text import harmless_lines, quoted
from saga_service.cli.exits import EXIT_CODE_OF, extra_missing

COMMANDS_PACKAGE = "saga_service.cli.commands"


class CommandEntry(NamedTuple):
    """One line of the table of commands."""

    name: str
    panel: str
    """The heading in the group's help under which the command is listed."""
    target: str
    """`module:attribute` below COMMANDS_PACKAGE: a function, or a Typer with commands of its own."""
    help: str
    example: str | None = None
    takes_data: bool = False
    """True if it has --data and --field, where an argument that is one too many most likely belongs."""


class _DataCommand(TyperCommand):
    """A command with --data. It says so to who gives the data without that."""

    allow_extra_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # typer's own class of contexts is private
        if extra := super().parse_args(ctx, args):
            raise Failure(
                f"nothing is known of the argument {quoted(extra[0])}",
                "data is given by --data with a JSON object, or by --field NAME=VALUE",
                kind=FailureKind.INVALID,
            )
        return []


class LazyGroup(TyperGroup):
    """The commands of a table. A user's mistake, or a missing extra, ends in one line and never in a traceback."""

    entries: ClassVar[Iterable[CommandEntry]] = ()

    def __init__(self, **attributes: Any) -> None:  # whatever typer gives a group
        super().__init__(**attributes)
        self._entries = {entry.name: entry for entry in self.entries}
        self.commands = {entry.name: _listed(entry) for entry in self.entries}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # typer's own class of contexts is private
        try:
            _refuse_other_encodings(args)
        except Failure as failure:
            raise _reported(failure) from None
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # typer's own classes for both are private
        name, command, rest = super().resolve_command(ctx, args)
        entry = self._entries.get(name or "")
        return name, command if entry is None else _loaded(entry), rest

    def invoke(self, ctx: Any) -> Any:  # the value is the command's
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # typer has pydantic read the values, and that begins its texts so.
            error.message = error.message.removeprefix("Value error, ")
            raise
        except Failure as failure:
            raise _reported(failure) from None
        except ModuleNotFoundError as error:
            failure_of_extra = extra_missing(error)
            if failure_of_extra is None:
                raise
            raise _reported(failure_of_extra) from None


def _reported(failure: Failure) -> typer.Exit:
    typer.echo(harmless_lines(f"saga-service: {failure}"), err=True)
    return typer.Exit(EXIT_CODE_OF[failure.kind])


def _refuse_other_encodings(arguments: Sequence[str]) -> None:
    """Raises Failure where an argument is not UTF-8: no key, name or value of a saga could be meant by it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Failure(
                f"the argument {quoted(argument)} is not UTF-8",
                "check the encoding of the terminal or the script",
                kind=FailureKind.INVALID,
            ) from None


def _listed(entry: CommandEntry) -> TyperCommand:
    """A command as the group's help lists it: with its help, and without its module."""
    return TyperCommand(entry.name, help=entry.help, rich_help_panel=entry.panel)


def _loaded(entry: CommandEntry) -> Any:  # typer's own class of commands is private
    """The command itself, out of its module; in its place one that says what to install, where that cannot be had."""
    module, _, attribute = entry.target.partition(":")
    try:
        target = getattr(import_module(f"{COMMANDS_PACKAGE}.{module}"), attribute)
    except ModuleNotFoundError as error:
        failure = extra_missing(error)
        if failure is None:
            raise
        return _without_extra(entry, failure)
    app = typer.Typer(add_completion=False)
    epilog = None if entry.example is None else f"Example: saga-service {entry.example}"
    if isinstance(target, typer.Typer):
        app.add_typer(target, name=entry.name, help=entry.help)
        group = get_command(app)
        assert isinstance(group, TyperGroup), "a Typer with a Typer in it is a group"
        return group.commands[entry.name]
    kind = _DataCommand if entry.takes_data else TyperCommand
    app.command(entry.name, help=entry.help, epilog=epilog, cls=kind)(target)
    return get_command(app)


def _without_extra(entry: CommandEntry, failure: Failure) -> Any:
    """A command that has its help, and fails whatever it is given."""

    def fail() -> None:
        raise failure

    app = typer.Typer(add_completion=False)
    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    # The name of an extra stands in brackets, and would be read as a style.
    epilog = str(failure).replace("[", r"\[")
    app.command(entry.name, help=entry.help, epilog=epilog, context_settings=anything)(fail)
    return get_command(app)
