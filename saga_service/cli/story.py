"""One saga, told to a tired person at night: what happened when, what is awaited, what is owed, what to type next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from shlex import quote

from saga_service.cli.output import Row, duration, harmless, moment, print_heading, print_line, print_table
from saga_service.cli.reading import DebtRow, HistoryRow, SagaRow, SagaStory, StepRow

OVERDUE = timedelta(seconds=10)
"""Past this, something due was not merely just missed by a timer's round."""


def print_story(story: SagaStory, now: datetime, redis_url: str, replies_stream: str) -> None:
    """`replies_stream` is where a person's answer to a stuck undo would go, on the Redis of that URL."""
    saga = story.saga
    print_heading(harmless(f"{saga.saga} {saga.id}: {saga.status}"))
    for line in _summary(saga, now):
        print_line(line)
    print_line()
    print_table(("time (UTC)", "after", "what happened"), timeline(story.history))
    print_line()
    print_table(_STEP_COLUMNS, [_step(step) for step in story.steps])
    for heading, lines in (
        ("Waiting for", list(_awaited(story, now))),
        ("Still to be undone, in this order", [_owed(debt) for debt in story.debt]),
        ("Next", list(_next(story, now, f"redis-cli -u {redis_url} XADD {quote(replies_stream)} '*'"))),
    ):
        if lines:
            print_line()
            print_heading(f"{heading}:")
            for line in lines:
                print_line(f"  {line}")


def _summary(saga: SagaRow, now: datetime) -> Iterator[str]:
    if saga.key is not None:
        yield f"key {saga.key}"
    took = f"ended {moment(saga.ended_at)} after {duration(saga.ended_at - saga.created_at)}" if saga.ended_at else ""
    still = f"{duration(now - saga.created_at)} ago, last change {duration(now - saga.updated_at)} ago"
    yield f"started {moment(saga.created_at)} UTC, {took or still}"
    if saga.error_code is not None:
        yield f"because {_error(saga.error_code, saga.error_message)}" + (
            f" (step {saga.error_step})" if saga.error_step else ""
        )


# --------------------------------------------------------------------------------------------------------- timeline

_EVENTS = {
    "started": "started",
    "action_succeeded": "{step} done",
    "action_failed": "{step} failed, attempt {attempt}: {error}",
    "action_rejected": "{step} refused by its worker: {error}",
    "action_timed_out": "{step} not answered in time, attempt {attempt}: it may or may not have happened",
    "action_retry_due": "{step} is tried again",
    "action_progressed": "{step} is still at work",
    "compensation_succeeded": "{step} undone",
    "compensation_failed": "undo of {step} failed, attempt {attempt}: {error}",
    "compensation_rejected": "undo of {step} refused by its worker: {error}",
    "compensation_timed_out": "undo of {step} not answered in time, attempt {attempt}",
    "compensation_retry_due": "undo of {step} is tried again",
    "compensation_progressed": "undo of {step} is still at work",
}


def timeline(history: list[HistoryRow]) -> list[Row]:
    """A row for each thing that happened: time of day, time since the start, and what."""
    rows: list[Row] = []
    before: HistoryRow | None = None
    for entry in history:
        since = duration(entry.at - history[0].at) if before else ""
        rows.append((_time_of_day(entry.at, before), since, happened(entry, before.status if before else "running")))
        before = entry
    return rows


def happened(entry: HistoryRow, status_before: str) -> str:
    """One line of history in words. `status_before` is the saga's status until then."""
    known = _EVENTS.get(entry.event, f"{entry.event} {{step}}")
    what = known.format(step=entry.step, attempt=entry.attempt, error=_error(entry.error_code, entry.error_message))
    sent = [f"sent {_command(command)}" for command in entry.sent]
    turned = [f"the saga is now {entry.status}"] if entry.status != status_before else []
    return "; ".join([what, *turned, *sent])


def _time_of_day(at: datetime, before: HistoryRow | None) -> str:
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return text if before is None or before.at.date() != at.date() else text[11:].rjust(len(text))


def _command(named: str) -> str:
    """`step:direction:attempt` in words."""
    step, direction, attempt = named.rsplit(":", 2)
    what = step if direction == "action" else f"undo of {step}"
    return what if attempt == "1" else f"{what} (attempt {attempt})"


def _error(code: str | None, message: str | None) -> str:
    return ": ".join(part for part in (code, message) if part) or "no reason given"


# ------------------------------------------------------------------------------------------------------------ steps

_STEP_COLUMNS = ("step", "status", "attempts", "undo attempts", "error")


def _step(step: StepRow) -> Row:
    error = _error(step.error_code, step.error_message) if step.error_code else ""
    return step.step, step.status, str(step.attempts), str(step.compensation_attempts or ""), error


def _awaited(story: SagaStory, now: datetime) -> Iterator[str]:
    for step in story.steps:
        if step.waiting_for is None or step.due_at is None:
            continue
        what = f"undo of {step.step}" if step.status == "compensating" else step.step
        attempt = step.compensation_attempts if step.status == "compensating" else step.attempts
        if step.waiting_for == "retry":
            yield f"the next attempt of {what}, {_when(step.due_at, now)}; {attempt} so far"
        else:
            yield f"the worker's reply to {what} (attempt {attempt}); counts as not answered {_when(step.due_at, now)}"


def _when(at: datetime, now: datetime) -> str:
    if at > now:
        return f"in {duration(at - now)} ({moment(at)})"
    return f"{duration(now - at)} ago ({moment(at)}): overdue"


def _owed(debt: DebtRow) -> str:
    undo = f"by {debt.compensation}" if debt.compensation else "by a command that is not on record"
    error = f": {_error(debt.error_code, debt.error_message)}" if debt.error_code else ""
    return f"{debt.undo_order}. {debt.step} ({debt.status}) {undo}{error}"


# ------------------------------------------------------------------------------------------------------------- next


def _next(story: SagaStory, now: datetime, reply: str) -> Iterator[str]:
    if story.saga.status == "stuck":
        yield from _settle_by_hand(story, reply)
    elif any(step.due_at is not None and step.due_at < now - OVERDUE for step in story.steps):
        yield "it is overdue, so no replica looks after it; see what is wrong: saga-service doctor"
    elif story.saga.ended_at is None:
        yield f"nothing: it goes on by itself; look again: saga-service show {story.saga.id}"
    else:
        yield _NOTHING_OWED[story.saga.status](story.saga)


def _settle_by_hand(story: SagaStory, reply: str) -> Iterator[str]:
    from saga_service.core.ids import Direction, SagaId, command_id

    saga_id = SagaId(story.saga.id)
    for step in story.steps:
        if step.status == "compensation_failed":
            yield f"undo {step.step} by hand, then answer for its worker, and the rest is undone by itself:"
            command = command_id(saga_id, step.step, Direction.COMPENSATION, step.compensation_attempts)
            fields = f"command_id {quote(command)} saga_id {saga_id} outcome succeeded"
            yield f"  {reply} {fields}"


_NOTHING_OWED: dict[str, Callable[[SagaRow], str]] = {
    "completed": lambda _: "nothing: every step is done",
    "compensated": lambda saga: (
        f"nothing is owed: every effect is undone; to try once more, start another {saga.saga}"
        + (" with another key" if saga.key else "")
    ),
}
