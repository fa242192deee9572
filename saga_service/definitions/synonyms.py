"""Keywords of other systems, and what they are called here: for whoever knows Temporal, Step Functions, GitHub Actions,
Camunda or Conductor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

_LIKENESS_MIN = 0.75
"""Below it, a word is another word and no slip: `route` is not `probe`, and `optional` is not `compensation`."""

SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "saga": {
        "'name'": "id saga workflow title",
        "'steps'": "tasks activities jobs states stages",
        "'input'": "inputs parameters params schema input_schema",
        "'triggers'": "on events trigger start_on starts_on",
        "'deadline'": "timeout execution_timeout run_timeout",
        "'key'": "business_key correlation_key idempotency_key correlation_id",
        "'undo', its order; each step has its own": "compensation rollback compensation_order",
        "'defaults: {retry: {attempts: 5}}'": "retry retries retry_policy max_attempts",
        "'description'": "comment doc documentation",
        "nothing: the version is made from the definition itself": "version",
    },
    "step": {
        "'after'": "depends_on depends dependencies needs requires run_after previous",
        "'after' in the later step": "next then on_success",
        "'when'": "if condition only_if unless skip_if run_if",
        "'compensation'": "rollback undo revert compensate compensate_with cancel",
        "'compensation', which undoes this step when the saga fails": "on_failure on_error_do catch",
        "'sleep', in a step of its own": "delay wait_for_seconds pause timer duration",
        "'retry: {attempts: 5}'": "max_attempts retries max_retries attempts retry_count",
        "'retry'": "backoff retry_policy retry_options",
        "'action'": "task command activity run call uses handler type",
        "'signal'": "event wait wait_for wait_for_event wait_for_signal receive",
        "'saga'": "child workflow child_workflow sub_workflow subprocess child_saga",
        "'input'": "with args arguments params parameters payload data inputs",
        "'output'": "outputs result returns result_schema",
        "'name'": "id step title label",
        "'timeout: 30s'": "start_to_close_timeout timeout_seconds timeout_ms time_limit",
        "'heartbeat: 10s'": "heartbeat_timeout heartbeat_seconds heartbeat_interval",
        "'kind: pivot'": "point_of_no_return pivot",
        "'probe', with 'on_unknown: probe'": "check verify status_check",
        "'description'": "comment doc documentation",
        (
            "nothing: no step may fail and be passed over. Let the handler return what went wrong as its "
            "output, and ask for it in a later step's 'when'"
        ): "optional ignore_errors continue_on_error allow_failure",
        "'when' in each of the steps to choose from, and 'after' for those side by side": (
            "route switch choice branch branches parallel"
        ),
        "the first part of 'action', as in 'payment.charge'": "queue task_queue service worker",
    },
    "retry": {
        "'attempts'": "max_attempts max_retries retries limit maximum_attempts count",
        "'first_delay'": "delay initial_interval interval initial_delay wait backoff",
        "'factor'": "multiplier backoff_coefficient backoff_rate exponent backoff_factor",
        "'max_delay'": "maximum_interval max_interval max_backoff max_wait cap",
        "'budget'": "timeout max_elapsed max_elapsed_time max_duration deadline",
        "'never'": "non_retryable non_retryable_errors except not_on abort_on ignore",
    },
    "trigger": {
        "'event_type'": "event type name on",
        "'stream'": "topic queue channel",
        "'group'": "consumer_group",
    },
}
"""By the place of a keyword: what to write, and the words that others have for it."""

_OURS: Mapping[str, Mapping[str, str]] = {
    place: {word: ours for ours, words in table.items() for word in words.split()} for place, table in SYNONYMS.items()
}


def unknown_keyword(keyword: str, known: Sequence[str], place: str) -> str:
    """The text about a keyword that does not exist. `place` is a key of SYNONYMS, or any other text."""
    written = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-|\s", "_", keyword).lower()
    if written in known:
        return f"is not a known key; write '{written}'"
    synonym = _OURS.get(place, {}).get(written)
    if synonym is not None:
        return f"is not a known key; here it is {synonym}"
    close = get_close_matches(written, known, n=1, cutoff=_LIKENESS_MIN)
    if close:
        return f"is not a known key; did you mean '{close[0]}'?"
    return f"is not a known key; known here: {', '.join(known)}"
