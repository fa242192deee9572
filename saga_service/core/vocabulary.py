"""The words that the core, the wire and the store share: every status, direction, outcome and operation.

Beside each enum that the hot path reads stand its members under plain names. Until Python 3.12 `StepStatus.PENDING`
runs Python code at each look-up; a module's global does not. Import those names instead of making aliases elsewhere.
Members of `SagaStatus` and `Due` keep their enum's name as a prefix, because other enums have members of these names.

`transitions` holds the three enums that only the tables speak of: what reaches a step, what is done about it, and the
conditions of a saga.
"""

from __future__ import annotations

from enum import StrEnum

# What an author chooses in a definition.


class Task(StrEnum):
    """The kind of work that a step stands for."""

    COMMAND = "command"
    """A worker does it."""
    SLEEP = "sleep"
    """Time passes."""
    SIGNAL = "signal"
    """A signal from outside ends it."""
    CHILD = "child"
    """Another saga does it."""


COMMAND, SLEEP, SIGNAL, CHILD = Task.COMMAND, Task.SLEEP, Task.SIGNAL, Task.CHILD


class Kind(StrEnum):
    """The three kinds of steps in Richardson's terms ("Microservices Patterns", 2018, chapter 4)."""

    COMPENSATABLE = "compensatable"
    """The step may fail, and its effect can be undone or needs no undo."""
    PIVOT = "pivot"
    """The step decides: once it is done, the saga only goes forward."""
    RETRIABLE = "retriable"
    """The step cannot fail for good: it is tried until it is done, or a person decides."""


class OnUnknown(StrEnum):
    """The author's choice for an attempt that was never answered, and so may have happened."""

    RETRY = "retry"
    """Try again, with the same idempotency key."""
    PROBE = "probe"
    """Ask a worker whether it happened."""
    COMPENSATE = "compensate"
    """Give the step up and undo it, whether it happened or not."""
    HOLD = "hold"
    """Wait for a late reply, or for a person."""


class OnError(StrEnum):
    """The author's choice for an exception of a handler that its author did not foresee."""

    FAILED = "failed"
    """The action did not happen: the next attempt, or none, by the retry policy."""
    UNKNOWN = "unknown"
    """The action may have happened: whatever `on_unknown` says, and in the end the undo is sent."""


class UndoOrder(StrEnum):
    """The order in which outstanding effects are undone."""

    REVERSE = "reverse"
    """One at a time, from the latest effect to the first."""
    PARALLEL = "parallel"
    """A step as soon as every step after it in the graph is undone."""


# What a saga and its steps are at one moment.


class SagaStatus(StrEnum):
    RUNNING = "running"
    COMPENSATING = "compensating"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"


SAGA_RUNNING, SAGA_COMPENSATING, SAGA_PAUSED = SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.PAUSED
SAGA_COMPLETED, SAGA_COMPENSATED, SAGA_STUCK = SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.STUCK

ENDED = frozenset({SAGA_COMPLETED, SAGA_COMPENSATED})
"""Nothing more is to be done. A stuck saga has not ended: a person still has to act."""


class Course(StrEnum):
    """The direction in which a saga goes. A saga that is paused or stuck still has its course."""

    FORWARD = "forward"
    BACKWARD = "backward"


FORWARD, BACKWARD = Course.FORWARD, Course.BACKWARD


class StepStatus(StrEnum):
    PENDING = "pending"
    DISPATCHED = "dispatched"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


PENDING, DISPATCHED, WAITING = StepStatus.PENDING, StepStatus.DISPATCHED, StepStatus.WAITING
SUCCEEDED, FAILED, UNKNOWN, SKIPPED = StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.UNKNOWN, StepStatus.SKIPPED
COMPENSATING, COMPENSATED = StepStatus.COMPENSATING, StepStatus.COMPENSATED
COMPENSATION_FAILED = StepStatus.COMPENSATION_FAILED

DONE = frozenset({SUCCEEDED, SKIPPED})
"""The steps after such a step may begin."""


class Due(StrEnum):
    """The meaning of a step's `due_at_ms` when it comes."""

    TIMEOUT = "timeout"
    """The command in flight is given up on: its outcome is unknown."""
    RETRY = "retry"
    """The wait after a failed attempt is over."""
    PROBE_TIMEOUT = "probe_timeout"
    """The probe was not answered."""
    PROBE_RETRY = "probe_retry"
    """The wait before the next probe is over."""
    SLEEP = "sleep"
    """The sleep is over."""
    SIGNAL = "signal"
    """The signal did not come in time."""


DUE_TIMEOUT, DUE_RETRY = Due.TIMEOUT, Due.RETRY
DUE_PROBE_TIMEOUT, DUE_PROBE_RETRY = Due.PROBE_TIMEOUT, Due.PROBE_RETRY
DUE_SLEEP, DUE_SIGNAL = Due.SLEEP, Due.SIGNAL


# What is sent, and what comes in.


class Direction(StrEnum):
    """The three purposes of a command: to do a step's work, to undo it, or to ask whether it was done."""

    ACTION = "action"
    COMPENSATION = "compensation"
    PROBE = "probe"


ACTION, COMPENSATION, PROBE = Direction.ACTION, Direction.COMPENSATION, Direction.PROBE


class Outcome(StrEnum):
    """A worker's answer to one command."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    """The command can never succeed: do not retry. Of a probe: the action did not happen."""
    UNKNOWN = "unknown"
    """The worker began, and cannot tell whether it happened."""
    PROGRESS = "progress"
    """The worker is still at work."""


class ChildOperation(StrEnum):
    """A parent's request to its child saga."""

    START = "start"
    CANCEL = "cancel"
    COMPENSATE = "compensate"


class Operation(StrEnum):
    """The requests that a person can make of a saga."""

    RETRY = "retry"
    """Try what is parked, or waits for its next attempt, now, and with a new budget."""
    SKIP = "skip"
    """Go on without what is parked: a step that is not done, an effect that is not undone."""
    RESOLVE = "resolve"
    """Record how a step came out, because somebody looked."""
    CANCEL = "cancel"
    """Stop, and undo what was done."""
    COMPENSATE = "compensate"
    """Undo a saga like `cancel` does, even one that is completed."""
    PAUSE = "pause"
    """Send nothing more. Replies to what is in flight still come in."""
    RESUME = "resume"


class Resolution(StrEnum):
    """A person's finding about a step."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    COMPENSATED = "compensated"


class Verdict(StrEnum):
    """The core's answer to an event."""

    APPLIED = "applied"
    REPEATED = "repeated"
    """Known already, or overtaken: nothing to do, nothing wrong."""
    REFUSED = "refused"
    """Cannot be: nothing changed, and `reason` says why."""


APPLIED = Verdict.APPLIED
