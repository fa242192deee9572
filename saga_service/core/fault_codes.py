"""Every error code that the service itself gives, and its meaning. A worker's own codes are the author's.

A code is a promise: authors name it under `never_retry`, and operators search for it in `saga.history` and `show`.
Declare a new one here with its line, and a page of the documents can be made of the table.
"""

from __future__ import annotations

from collections.abc import Mapping

TIMEOUT = "timeout"
HEARTBEAT_TIMEOUT = "heartbeat_timeout"
SIGNAL_TIMED_OUT = "signal_timed_out"
OUTCOME_UNKNOWN = "outcome_unknown"
FAILED = "failed"
EXPRESSION_FAILED = "expression_failed"
MESSAGE_TOO_LARGE = "message_too_large"
INVALID_OUTPUT = "invalid_output"
DEADLINE = "deadline"
CANCELLED = "cancelled"
UNDO_REQUESTED = "undo_requested"
RESOLVED = "resolved"
COMPENSATED = "compensated"
PAST_ITS_PIVOT = "past_its_pivot"
CHILD_REMOVED = "child_removed"

FAULT_CODES: Mapping[str, str] = {
    TIMEOUT: "No reply came within the attempt's time-out. It may have happened.",
    HEARTBEAT_TIMEOUT: "No sign of life came within the step's heartbeat. It may have happened.",
    SIGNAL_TIMED_OUT: "The signal that a step waited for did not come in time, and the step has no default.",
    OUTCOME_UNKNOWN: "No probe could tell whether the action happened.",
    FAILED: "The worker reported a failure and gave no code.",
    EXPRESSION_FAILED: "A condition or an input mapping of the definition has no value for this saga.",
    MESSAGE_TOO_LARGE: "A command, a child's start, or an output would be larger than an entry may be.",
    INVALID_OUTPUT: "The action happened, and its output does not fit the step's schema, or cannot be read.",
    DEADLINE: "The saga was neither done nor past its pivot by its deadline.",
    CANCELLED: "A person, or the parent saga, cancelled the saga.",
    UNDO_REQUESTED: "A person, or the parent saga, requested that the saga be undone.",
    RESOLVED: "A person resolved the step as failed.",
    COMPENSATED: "A child saga was undone instead of completed, and has no fault of its own.",
    PAST_ITS_PIVOT: "A child saga cannot be undone: its pivot is done, or may be.",
    CHILD_REMOVED: "A child saga that is to be undone was completed, and removed by retention since.",
}
"""Code and meaning, in the order in which a reader of the documents meets them."""
