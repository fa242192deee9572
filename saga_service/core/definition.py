"""What an author lays down: the steps of a saga, in order, and how each is tried, timed and taken back.

These are the validated values that the engine drives; `saga_service.definitions` reads them from Python or YAML and
says what is wrong with them. Times are whole milliseconds throughout the core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a command is tried and how long to wait between.

    The wait after attempt n is `delay_first_ms * delay_factor ** (n - 1)`, at most `delay_max_ms`.
    """

    attempts_max: int = 3
    delay_first_ms: int = 200
    delay_factor: float = 2.0
    delay_max_ms: int = 30_000
    never_retry: frozenset[str] = frozenset()
    """Error codes after which another attempt is pointless."""

    def delay_after_ms(self, attempt: int) -> int:
        # The exponent is capped: past it the wait is the maximum anyway, and a float would overflow.
        grown = self.delay_first_ms * self.delay_factor ** min(attempt - 1, 64)
        return int(min(grown, self.delay_max_ms))


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One step: a command that does it and, where the effect can be undone, the command that undoes it."""

    name: str
    action: str
    compensation: str | None
    retry: RetryPolicy
    timeout_ms: int
    compensation_retry: RetryPolicy
    compensation_timeout_ms: int


@dataclass(frozen=True, slots=True)
class Definition:
    """A saga's steps in order. `version` digests all that steers it: a saga ends on the version it began with."""

    name: str
    version: str
    steps: tuple[StepDefinition, ...]
    positions: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """Each step's place in `steps`, by name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", {step.name: position for position, step in enumerate(self.steps)})
