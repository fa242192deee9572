"""Keywords of other systems, and what they are called here: for whoever knows Temporal, Step Functions, GitHub Actions,
Camunda or Conductor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

_LIKENESS_MIN = 0.75
"""Below it, a word is another word and no slip: `route` is not `probe`, and `optional` is not `compensation`."""

_AFTER = "'after'"
_ATTEMPTS = "'retry: {attempts: 5}'"
_STEP: Mapping[str, str] = {
    **dict.fromkeys(("depends_on", "depends", "dependencies", "needs", "requires", "run_after", "previous"), _AFTER),
    **dict.fromkeys(("next", "then", "on_success"), "'after' in the later step"),
    **dict.fromkeys(("if", "condition", "only_if", "unless", "skip_if", "run_if"), "'when'"),
    **dict.fromkeys(("rollback", "undo", "revert", "compensate", "compensate_with", "cancel"), "'compensation'"),
    **dict.fromkeys(
        ("on_failure", "on_error_do", "catch"), "'compensation', which undoes this step when the saga fails"
    ),
    **dict.fromkeys(("delay", "wait_for_seconds", "pause", "timer", "duration"), "'sleep', in a step of its own"),
    **dict.fromkeys(("max_attempts", "retries", "max_retries", "attempts", "retry_count"), _ATTEMPTS),
    **dict.fromkeys(("backoff", "retry_policy", "retry_options"), "'retry'"),
    **dict.fromkeys(("task", "command", "activity", "run", "call", "uses", "handler", "type"), "'action'"),
    **dict.fromkeys(("event", "wait", "wait_for", "wait_for_event", "wait_for_signal", "receive"), "'signal'"),
    **dict.fromkeys(("child", "workflow", "child_workflow", "sub_workflow", "subprocess", "child_saga"), "'saga'"),
    **dict.fromkeys(("with", "args", "arguments", "params", "parameters", "payload", "data", "inputs"), "'input'"),
    **dict.fromkeys(("outputs", "result", "returns", "result_schema"), "'output'"),
    **dict.fromkeys(("id", "step", "title", "label"), "'name'"),
    **dict.fromkeys(("start_to_close_timeout", "timeout_seconds", "timeout_ms", "time_limit"), "'timeout: 30s'"),
    **dict.fromkeys(("heartbeat_timeout", "heartbeat_seconds", "heartbeat_interval"), "'heartbeat: 10s'"),
    **dict.fromkeys(("point_of_no_return", "pivot"), "'kind: pivot'"),
    **dict.fromkeys(("check", "verify", "status_check"), "'probe', with 'on_unknown: probe'"),
    **dict.fromkeys(("comment", "doc", "documentation"), "'description'"),
    **dict.fromkeys(
        ("optional", "ignore_errors", "continue_on_error", "allow_failure"),
        "nothing: no step may fail and be passed over. Let the handler return what went wrong as its output, and ask "
        "for it in a later step's 'when'",
    ),
    **dict.fromkeys(
        ("route", "switch", "choice", "branch", "branches", "parallel"),
        "'when' in each of the steps to choose from, and 'after' for those side by side",
    ),
    **dict.fromkeys(("queue", "task_queue", "service", "worker"), "the first part of 'action', as in 'payment.charge'"),
}
_SAGA: Mapping[str, str] = {
    **dict.fromkeys(("id", "saga", "workflow", "title"), "'name'"),
    **dict.fromkeys(("tasks", "activities", "jobs", "states", "stages"), "'steps'"),
    **dict.fromkeys(("inputs", "parameters", "params", "schema", "input_schema"), "'input'"),
    **dict.fromkeys(("on", "events", "trigger", "start_on", "starts_on"), "'triggers'"),
    **dict.fromkeys(("timeout", "execution_timeout", "run_timeout"), "'deadline'"),
    **dict.fromkeys(("business_key", "correlation_key", "idempotency_key", "correlation_id"), "'key'"),
    **dict.fromkeys(("compensation", "rollback", "compensation_order"), "'undo', its order; each step has its own"),
    **dict.fromkeys(("retry", "retries", "retry_policy", "max_attempts"), "'defaults: {retry: {attempts: 5}}'"),
    **dict.fromkeys(("comment", "doc", "documentation"), "'description'"),
    **dict.fromkeys(("version",), "nothing: the version is made from the definition itself"),
}
_RETRY: Mapping[str, str] = {
    **dict.fromkeys(("max_attempts", "max_retries", "retries", "limit", "maximum_attempts", "count"), "'attempts'"),
    **dict.fromkeys(("delay", "initial_interval", "interval", "initial_delay", "wait", "backoff"), "'first_delay'"),
    **dict.fromkeys(("multiplier", "backoff_coefficient", "backoff_rate", "exponent", "backoff_factor"), "'factor'"),
    **dict.fromkeys(("maximum_interval", "max_interval", "max_backoff", "max_wait", "cap"), "'max_delay'"),
    **dict.fromkeys(("timeout", "max_elapsed", "max_elapsed_time", "max_duration", "deadline"), "'budget'"),
    **dict.fromkeys(("non_retryable", "non_retryable_errors", "except", "not_on", "abort_on", "ignore"), "'never'"),
}
_TRIGGER: Mapping[str, str] = {
    **dict.fromkeys(("event", "type", "name", "on"), "'event_type'"),
    **dict.fromkeys(("topic", "queue", "channel"), "'stream'"),
    **dict.fromkeys(("consumer_group",), "'group'"),
}
SYNONYMS: Mapping[str, Mapping[str, str]] = {"saga": _SAGA, "step": _STEP, "retry": _RETRY, "trigger": _TRIGGER}
"""By the place of a keyword: the words that others have for it, and what to write."""


def unknown_keyword(keyword: str, known: Sequence[str], place: str) -> str:
    """The text about a keyword that does not exist. `place` is a key of SYNONYMS, or any other text."""
    written = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-|\s", "_", keyword).lower()
    if written in known:
        return f"is not a known key; write '{written}'"
    synonym = SYNONYMS.get(place, {}).get(written)
    if synonym is not None:
        return f"is not a known key; here it is {synonym}"
    close = get_close_matches(written, known, n=1, cutoff=_LIKENESS_MIN)
    if close:
        return f"is not a known key; did you mean '{close[0]}'?"
    return f"is not a known key; known here: {', '.join(known)}"
