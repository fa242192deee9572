"""How long a command waits for an inbox that is not to be had.

The saga counts a time-out at the command's deadline, and then nobody knows what happened. So a worker that has done
nothing says so before that: it keeps back as much time as its answer needs to arrive.

That part is of the time that is left when the command is taken on. One that came late keeps back less, and waits a
little all the same.
"""

from __future__ import annotations

from collections.abc import Callable

ANSWER_PART = 0.1
ANSWER_S_MIN = 0.1
ANSWER_S_MAX = 1.0


class Patience:
    """`remaining_s` tells the time to the deadline, and 0 after it."""

    def __init__(self, remaining_s: Callable[[], float]) -> None:
        self._remaining_s = remaining_s
        self._answer_s = min(max(remaining_s() * ANSWER_PART, ANSWER_S_MIN), ANSWER_S_MAX)

    @property
    def left_s(self) -> float:
        """How long it may still wait for its next try; 0 or less when it is time to answer."""
        return self._remaining_s() - self._answer_s

    @property
    def for_a_connection_s(self) -> float:
        """How long a try may wait for its connection. The last one ends while there is still time for the answer."""
        return max(self.left_s, self._answer_s / 2)
