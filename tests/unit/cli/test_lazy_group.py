"""The table of commands: each line leads to a command, and only a command that is run is imported."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import typer

from saga_service.cli.lazy_group import COMMANDS_PACKAGE, CommandEntry
from saga_service.cli.main import COMMANDS

PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sorted(name for name in sys.modules if name.startswith("saga_service.cli.commands."))))
sys.argv[0] = "saga-service"
from saga_service.cli.main import main
main()
"""


def command_modules_after(*arguments: str) -> list[str]:
    """The modules of commands that a process has imported at its end."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=True, capture_output=True, text=True)
    return [name.removeprefix(f"{COMMANDS_PACKAGE}.") for name in ran.stdout.splitlines()[-1].split()]


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_line_of_the_table_leads_to_its_command(entry: CommandEntry) -> None:
    module, _, attribute = entry.target.partition(":")
    target = getattr(import_module(f"{COMMANDS_PACKAGE}.{module}"), attribute)
    assert callable(target)
    assert (entry.example is None) is isinstance(target, typer.Typer)
    assert entry.example is None or entry.example.split()[0] == entry.name
    assert getattr(target, "__doc__", None) is None or isinstance(target, typer.Typer), "the help is in the table"


def test_the_help_of_all_commands_imports_none_of_them() -> None:
    assert command_modules_after("--help") == []


def test_a_commands_help_imports_that_command_alone() -> None:
    assert command_modules_after("keys", "--help") == ["keys"]
    assert command_modules_after("retry", "--help") == ["operate"]
