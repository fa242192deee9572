"""Every metric that a process exports: the one place to add one.

A counter counts what was committed, or happened, in one process since it started: take `rate()` of it, and `sum()` over
processes. A gauge of the state (`Scope.DEPLOYMENT`) says what Postgres or Redis has, whichever process is asked: take
`max()` of it over processes, for `sum()` would count the deployment once for each.

Labels are bounded by what is deployed: definitions, steps, command types, streams, routes. No label ever has an id, a
key or a text of somebody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Prometheus' types of metrics that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Scope(StrEnum):
    """Whose number it is."""

    PROCESS = "process"
    """Of the process that is asked."""
    DEPLOYMENT = "deployment"
    """Of the whole deployment: all processes tell the same."""


SERVICE, WORKER, HTTP = "run", "worker", "http"
"""The commands whose processes export a metric."""
EVERYWHERE = (SERVICE, WORKER, HTTP)
WITH_POSTGRES = (SERVICE, HTTP)

MOMENTS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds for what a server or the event loop does: a millisecond to half a minute."""
WORK_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0)
"""Bounds for what workers and requests do: milliseconds to an hour."""
LIFETIMES_S = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 6 * 3_600.0),
    *(86_400.0, 3 * 86_400.0, 7 * 86_400.0, 30 * 86_400.0),
)
"""Bounds for sagas and their steps: milliseconds to a month."""
ENTRIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0)


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric. `help` is a sentence for people; `bounds` are the upper bounds of a histogram's buckets."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    processes: tuple[str, ...]
    scope: Scope = Scope.PROCESS
    bounds: tuple[float, ...] = ()


DECLARED: list[Metric] = []
"""All of them, in the order of the page."""


def _counter(name: str, help_text: str, *labels: str, of: tuple[str, ...]) -> Metric:
    return _declared(Metric(name, Kind.COUNTER, help_text, labels, of))


def _histogram(name: str, bounds: tuple[float, ...], help_text: str, *labels: str, of: tuple[str, ...]) -> Metric:
    return _declared(Metric(name, Kind.HISTOGRAM, help_text, labels, of, bounds=bounds))


def _gauge(name: str, help_text: str, *labels: str, of: tuple[str, ...]) -> Metric:
    return _declared(Metric(name, Kind.GAUGE, help_text, labels, of))


def _state(name: str, help_text: str, *labels: str) -> Metric:
    return _declared(Metric(name, Kind.GAUGE, help_text, labels, WITH_POSTGRES, Scope.DEPLOYMENT))


def _declared(metric: Metric) -> Metric:
    DECLARED.append(metric)
    return metric


# Sagas, as this process has moved them.

STARTS = _counter("saga_starts_total", "Sagas that began.", "saga", of=(SERVICE,))
ENDS = _counter("saga_ends_total", "Sagas that ended, as completed or compensated.", "saga", "status", of=(SERVICE,))
STUCKS = _counter("saga_stuck_total", "Times that a saga got stuck: it waits for a person.", "saga", of=(SERVICE,))
DURATION = _histogram(
    "saga_duration_seconds", LIFETIMES_S, "From a saga's start to its end.", "saga", "status", of=(SERVICE,)
)
STEPS = _counter(
    "saga_steps_total",
    "What became of attempts at steps: of the action, of the compensation, or of a probe.",
    *("saga", "step", "direction", "outcome"),
    of=(SERVICE,),
)
STEP_DURATION = _histogram(
    "saga_step_duration_seconds",
    LIFETIMES_S,
    "From the first command of a step, or of its undo, to its success, with all attempts between.",
    *("saga", "step", "direction"),
    of=(SERVICE,),
)
RETRIES = _counter(
    "saga_step_retries_total",
    "Commands that were sent as a second or later attempt.",
    *("saga", "step", "direction"),
    of=(SERVICE,),
)
RESENDS = _counter(
    "saga_commands_resent_total", "Commands that were sent again because they may be lost.", "saga", of=(SERVICE,)
)

# Entries and batches, as this process has handled them.

ENTRY_WAIT = _histogram(
    "saga_entry_wait_seconds",
    WORK_S,
    "From an entry's XADD, by the clock of Redis, until a lane took it. Repeats count again.",
    "stream",
    of=(SERVICE,),
)
BATCHES = _counter("saga_batches_total", "Batches that were committed.", of=(SERVICE,))
BATCH_ENTRIES = _histogram(
    "saga_batch_entries", ENTRIES, "Entries, requests and timers in one committed batch.", of=(SERVICE,)
)
COMMIT = _histogram("saga_commit_seconds", MOMENTS_S, "The commit of one batch in Postgres.", of=(SERVICE,))
PUBLISH = _histogram(
    "saga_publish_seconds",
    MOMENTS_S,
    "Publishing one batch's messages and acknowledging its entries, outages of Redis included.",
    of=(SERVICE,),
)
MESSAGES = _counter("saga_messages_total", "Messages that were published.", of=(SERVICE,))
BATCH_FAILURES = _counter(
    "saga_batch_failures_total",
    "Attempts at a commit that failed: why, and what was done about it. Conflicts are `lost_race` and `conflict`.",
    *("failure", "remedy"),
    of=(SERVICE,),
)
DEFERRALS = _counter("saga_deferrals_total", "Times that an entry was put off, to be tried later.", of=(SERVICE,))
DEAD_LETTERS = _counter("saga_dead_letters_total", "Entries that became dead letters.", "stream", of=(SERVICE,))
REFUSALS = _counter("saga_refusals_total", "Events that a saga refused, and that have no dead letter.", of=(SERVICE,))

# This process.

LANES = _gauge("saga_lanes", "Lanes: batches that can be under way at once.", of=(SERVICE,))
LANES_BUSY = _gauge("saga_lanes_busy", "Lanes with a batch under way.", of=(SERVICE,))
INTAKE = _gauge("saga_intake_entries", "Entries that were read and wait for a lane.", of=(SERVICE,))
POOL = _gauge("saga_pool_connections", "Open connections to Postgres in the service's pool.", "state", of=(SERVICE,))
POOL_LIMIT = _gauge("saga_pool_connections_max", "Connections that the service's pool may open.", of=(SERVICE,))
POOL_WAITING = _gauge("saga_pool_waiting", "Statements that wait for a connection of the pool.", of=(SERVICE,))
LOOP_DELAY = _histogram(
    "saga_loop_delay_seconds",
    MOMENTS_S,
    "How much later than asked the event loop woke a task, looked at twice a second.",
    of=EVERYWHERE,
)
BUILD_INFO = _gauge(
    "saga_build_info", "1, with the versions of saga_service and Python as labels.", "version", "python", of=EVERYWHERE
)

# What Postgres has.

IN_FLIGHT = _state("saga_in_flight", "Sagas that have not ended.", "saga", "status")
OLDEST_START = _state(
    "saga_oldest_start_timestamp_seconds", "When the oldest saga that has not ended began.", "saga", "status"
)
OLDEST_CHANGE = _state(
    "saga_oldest_change_timestamp_seconds",
    "When the saga that has not ended, and has rested for longest, last changed. Of a stuck saga: since when.",
    *("saga", "status"),
)
NEXT_TIMER = _state(
    "saga_next_timer_timestamp_seconds", "When the next timer of any saga is due. In the past: timers are overdue."
)
DEBT = _state("saga_compensation_debt", "Effects that still have to be undone.", "saga")
OLDEST_DEBT = _state(
    "saga_oldest_debt_timestamp_seconds", "When the saga that owes an undo for longest turned to compensation.", "saga"
)
DEAD_LETTERS_WAITING = _state("saga_dead_letters_waiting", "Dead letters that nobody has replayed.", "stream")
OLDEST_DEAD_LETTER = _state(
    "saga_oldest_dead_letter_timestamp_seconds", "When the oldest dead letter came that nobody has replayed.", "stream"
)
OUTBOX = _state("saga_outbox_rows", "Committed batches whose messages are not known to be published.")
OLDEST_OUTBOX = _state(
    "saga_oldest_outbox_timestamp_seconds", "When the oldest row of the outbox was committed, or last tried."
)
REQUESTS_WAITING = _state("saga_requests_waiting", "Requests by SQL, and deferred entries, that wait for a replica.")
OLDEST_REQUEST = _state(
    "saga_oldest_request_timestamp_seconds", "When the oldest request that waits for a replica was made."
)
PROCESSES = _state("saga_processes", "Processes that are alive.", "kind")
STATE_ERRORS = _counter(
    "saga_state_errors_total",
    "Times that the state could not be read in time: the gauges of `source` are absent then.",
    "source",
    of=WITH_POSTGRES,
)
STATE_SECONDS = _gauge(
    "saga_state_query_seconds",
    "How long the last query for the state took. Queries take a twentieth of the time at most.",
    of=WITH_POSTGRES,
)

# What Redis has.

STREAM_ENTRIES = _state(
    "saga_stream_entries", "Entries on a stream, handled ones that are not trimmed yet included.", "stream"
)
GROUP_LAG = _state(
    "saga_group_lag", "Entries that a group has not read. Absent where Redis does not know.", "stream", "group"
)
GROUP_PENDING = _state("saga_group_pending", "Entries that a group has read and not acknowledged.", "stream", "group")
OLDEST_UNREAD = _state(
    "saga_oldest_unread_timestamp_seconds",
    "When the oldest entry was added that a group has not read.",
    "stream",
    "group",
)
OLDEST_PENDING = _state(
    "saga_oldest_pending_timestamp_seconds",
    "When the oldest entry was added that a group has read and not acknowledged.",
    *("stream", "group"),
)

# Workers.

COMMANDS = _counter(
    "saga_worker_commands_total",
    "Commands that were carried out. `none`: no reply was sent, because the outcome is not known.",
    *("service", "command", "outcome"),
    of=(WORKER,),
)
HANDLER_DURATION = _histogram(
    "saga_worker_handler_duration_seconds",
    WORK_S,
    "From the start of a handler to its end.",
    "service",
    "command",
    of=(WORKER,),
)
COMMAND_WAIT = _histogram(
    "saga_worker_wait_seconds",
    WORK_S,
    "From a command's XADD, by the clock of Redis, until its handler started.",
    "service",
    of=(WORKER,),
)
IN_HAND = _gauge("saga_worker_in_hand", "Commands that are being carried out.", "service", of=(WORKER,))
SLOTS = _gauge("saga_worker_slots", "Commands that can be carried out at once.", "service", of=(WORKER,))
REPLIES_WAITING = _gauge(
    "saga_worker_replies_waiting", "Replies that Redis has not taken yet.", "service", of=(WORKER,)
)
REPLIES_RETRIED = _counter(
    "saga_worker_replies_retried_total", "Replies that were sent again because Redis failed.", "service", of=(WORKER,)
)
LEASES_LOST = _counter(
    "saga_worker_leases_lost_total",
    "Commands that another worker took over while they were in hand here, or that went with their stream.",
    "service",
    of=(WORKER,),
)
INBOX_ANSWERS = _counter(
    "saga_worker_inbox_answers_total",
    "Commands that the inbox answered in the handler's place, by its decision: duplicates among them.",
    *("service", "decision"),
    of=(WORKER,),
)

# The HTTP API.

REQUESTS = _counter(
    "saga_http_requests_total",
    "Requests, by the template of their route.",
    "method",
    "route",
    "status",
    of=(HTTP, SERVICE),
)
WAITERS = _gauge(
    "saga_http_waiters", "Requests that wait: for a saga's end, or for the answer of a replica.", of=(HTTP, SERVICE)
)
REQUEST_DURATION = _histogram(
    "saga_http_request_duration_seconds",
    WORK_S,
    "From a request to the end of its answer; whoever waits for a saga's end is in it.",
    *("method", "route"),
    of=(HTTP, SERVICE),
)
VIEWERS = _gauge("saga_http_viewers", "Streams of events that are open.", of=(HTTP, SERVICE))
LOOK_DURATION = _histogram(
    "saga_http_look_duration_seconds",
    MOMENTS_S,
    "Looks at what has changed, for all viewers and waits at once; those that failed too.",
    of=(HTTP, SERVICE),
)
