"""The doctor's checks. Each looks at one thing and makes a finding of it; none changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from saga_service.cli.exits import CommandFailed


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `advice` says what to do about a problem, or what could be better."""

    check: str
    verdict: Literal["ok", "problem"]
    text: str
    advice: str | None = None


def ok(check: str, text: str, advice: str | None = None) -> Finding:
    return Finding(check, "ok", text, advice)


def problem(check: str, text: str, advice: str | None) -> Finding:
    return Finding(check, "problem", text, advice)


def failed(check: str, failure: CommandFailed) -> Finding:
    """The finding of a check that could not look at anything."""
    return problem(check, failure.message, failure.advice)
