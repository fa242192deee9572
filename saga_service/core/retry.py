"""How often a command is tried, and how long to wait between attempts."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from saga_service.core.ids import CommandId


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The attempts that a command has, and the waits between them.

    The wait after attempt n is `delay_first_ms * delay_factor ** (n - 1)`, at most `delay_max_ms`. With `jitter` it is
    multiplied by a fraction that follows from the command's id: spread like chance, and equal on every replica (full
    jitter: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    attempts_max: int = 3
    delay_first_ms: int = 200
    delay_factor: float = 2.0
    delay_max_ms: int = 30_000
    never_retry: frozenset[str] = frozenset()
    """Error codes after which another attempt is pointless."""
    jitter: bool = False
    budget_ms: int | None = None
    """Counted from the first attempt: an attempt that could not begin within it is not made."""

    def delay_after_ms(self, attempt: int, command_id: CommandId) -> int:
        """The wait after this attempt; `attempt` counts from 1 in the present series."""
        try:
            longest = min(self.delay_first_ms * self.delay_factor ** (attempt - 1), self.delay_max_ms)
        except OverflowError:
            longest = self.delay_max_ms
        return int(longest * jitter_fraction(command_id) if self.jitter else longest)


ONCE = RetryPolicy(attempts_max=1)

_FLOAT_STEPS = 1 << 53
"""As many as a float between 0 and 1 can tell apart."""


def jitter_fraction(command_id: str) -> float:
    """A number from 0 up to 1, 1 excluded, that is spread like a random one and follows from the id alone.

    Every replica computes the same number, and so does a repeat of the same event.
    """
    digest = blake2b(command_id.encode("utf-8"), digest_size=8, person=b"saga_jitter").digest()
    return (int.from_bytes(digest, "big") % _FLOAT_STEPS) / _FLOAT_STEPS
