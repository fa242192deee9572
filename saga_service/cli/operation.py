"""What a person wants done to which sagas, and how: as it stands on the command line, not yet looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked, of whatever saga. `output` is JSON text."""

    verb: str
    actor: str | None
    reason: str | None
    step: str | None = None
    resolution: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """One saga by its id or key, or all that the filters leave. `older_than` is a duration, such as 2h."""

    target: str | None
    status: str | None
    saga: str | None
    error_code: str | None
    older_than: str | None
    sagas_max: int

    def filters(self) -> list[str]:
        """Those that are given, as options; without `--saga`, which also says whose key a target is."""
        given = {"--status": self.status, "--error-code": self.error_code, "--older-than": self.older_than}
        return [option for option, value in given.items() if value is not None]


@dataclass(frozen=True, slots=True)
class Manner:
    """How the command goes about it."""

    dry_run: bool
    yes: bool
    timeout_s: float
    as_json: bool
