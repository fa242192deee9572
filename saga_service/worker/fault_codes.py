"""The error codes that workers reply with by themselves, and what each means.

A handler's own codes (`Rejected`, `Retryable`, the class of any other exception) are not among them. The page of the
documentation has the same table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

INVALID_COMMAND = "invalid_command"
INVALID_RESULT = "invalid_result"
UNKNOWN_COMMAND = "unknown_command"
ENCRYPTED_COMMAND = "encrypted_command"
RETRYABLE = "retryable"
NOT_A_PROBE = "not_a_probe"
INBOX_UNAVAILABLE = "inbox_unavailable"
UNDONE_BEFORE_DONE = "undone_before_done"
FENCED_BY_PROBE = "fenced_by_probe"
DID_NOT_HAPPEN = "did_not_happen"
IN_DOUBT = "in_doubt"
ACTION_ENDED_MEANWHILE = "action_ended_meanwhile"

FAULT_CODES: Mapping[str, str] = MappingProxyType(
    {
        INVALID_COMMAND: "the command's data does not fit the handler's model; the message names each field",
        INVALID_RESULT: "the handler's result is no JSON object, cannot be written as JSON, or is too large",
        UNKNOWN_COMMAND: "this process has no handler for the command's type; another process may have one",
        ENCRYPTED_COMMAND: "the command's data is encrypted with a key that this process does not have",
        RETRYABLE: "the handler raised `Retryable` without a code of its own",
        NOT_A_PROBE: "an action or a compensation was sent to a type that the inbox answers probes of",
        INBOX_UNAVAILABLE: "the inbox's database could not be reached before the deadline; nothing was done",
        UNDONE_BEFORE_DONE: "the step was undone before its action arrived; the action was not carried out",
        FENCED_BY_PROBE: "a probe was told that the action did not happen; the action was not carried out",
        DID_NOT_HAPPEN: "the probe's answer: the action did not happen, and no attempt sent so far will begin",
        IN_DOUBT: "the probe's answer: the action began, and its end is not on record; it may have happened",
        ACTION_ENDED_MEANWHILE: "the action ended while it was being undone; the undo has to be carried out again",
    }
)
