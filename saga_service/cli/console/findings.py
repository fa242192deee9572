"""Findings of a comparison of definitions and workers, one line each."""

from __future__ import annotations

import sys

import typer

from saga_service.cli.text import harmless
from saga_service.definitions.compatibility import Finding


def print_finding(finding: Finding) -> None:
    kind, colour = ("problem", "red") if finding.is_problem else ("hint", "yellow")
    line = harmless(f"{kind}: {finding}")
    typer.echo(typer.style(line, fg=colour) if sys.stdout.isatty() else line)
