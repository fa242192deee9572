"""One saga, told to a tired person at night: what happened when, what is awaited, what is owed, what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from saga_service.cli.access.views import DebtRow, HistoryRow, SagaRow, SagaStory, SignalRow, StepRow
from saga_service.cli.console.advice import next_steps, state_of
from saga_service.cli.console.output import Row, duration, harmless, moment, print_heading, print_line, print_table
from saga_service.core.definition import Definition
from saga_service.core.undo_plan import plan


def print_story(story: SagaStory, definition: Definition | None, now: datetime, address: str) -> None:
    """`address` is how the reader named the saga: commands to paste name it likewise. The definition may be unknown."""
    saga = story.saga
    print_heading(harmless(f"{saga.saga} {saga.id}: {saga.status}"))
    for line in _summary(story, definition, now):
        print_line(line)
    print_line()
    print_table(("time (UTC)", "after", "what happened"), timeline(story.history))
    print_line()
    print_table(*_steps(story.steps))
    for heading, columns, rows in (
        ("Child sagas", ("id", "status", "saga", "step", "why"), [_child(child) for child in story.children]),
        ("Signals", ("signal", "id", "what became of it"), [_signal(signal) for signal in story.signals]),
    ):
        if rows:
            print_line()
            print_heading(f"{heading}:")
            print_table(columns, rows)
    for heading, lines in (
        ("Waiting for", list(_awaited(story, now))),
        (_heading_of(story.debt), [_owed(debt) for debt in story.debt]),
        ("Next", list(next_steps(story, definition, now, address))),
    ):
        if lines:
            print_line()
            print_heading(f"{heading}:")
            for line in lines:
                print_line(f"  {line}")


def _summary(story: SagaStory, definition: Definition | None, now: datetime) -> Iterator[str]:
    saga = story.saga
    if saga.key is not None:
        yield f"key {saga.key}"
    if saga.parent_id is not None:
        yield f"child of saga {saga.parent_id}, for its step {saga.parent_step}"
    took = f"ended {moment(saga.ended_at)} after {duration(saga.ended_at - saga.created_at)}" if saga.ended_at else ""
    still = f"{duration(now - saga.created_at)} ago, last change {duration(now - saga.updated_at)} ago"
    yield f"started {moment(saga.created_at)} UTC, {took or still}"
    if saga.status in ("stuck", "paused"):
        yield _COURSES.get(saga.course, saga.course)
    if saga.deadline_at is not None and saga.ended_at is None and saga.course == "forward":
        yield f"deadline {_deadline(story, definition, saga.deadline_at, now)}"
    if saga.error_code is not None:
        yield f"because {error_text(saga.error_code, saga.error_message)}" + (
            f" (step {saga.error_step})" if saga.error_step else ""
        )
    if saga.course == "backward" and saga.stuck_step is not None:
        yield f"stuck at the undo of {saga.stuck_step}: {error_text(saga.stuck_code, saga.stuck_message)}"


def _deadline(story: SagaStory, definition: Definition | None, at: datetime, now: datetime) -> str:
    if definition is None:
        return f"{_when(at, now)}: what is not done then is undone, unless the saga has passed its pivot"
    stays_because = plan(definition, state_of(story.saga, story.steps)).stays_because
    if stays_because is None:
        return f"{_when(at, now)}: what is not done then is undone"
    # It may be over, and nobody is late.
    return f"{moment(at)}: as it stands, nothing is undone for it; {stays_because}"


_COURSES = {
    "forward": "on its way forward: its steps are being done",
    "backward": "on its way back: its effects are being undone",
}


# --------------------------------------------------------------------------------------------------------- timeline

_EVENTS = {
    "started": "started",
    "action_succeeded": "{step} done",
    "action_failed": "{step} failed, attempt {attempt}: {error}",
    "action_rejected": "{step} refused by its worker: {error}",
    "action_timed_out": "{step} not answered in time, attempt {attempt}: it may or may not have happened",
    "action_retry_due": "{step} is tried again",
    "action_progressed": "{step} is still at work",
    "action_failed_late": "{step} had not answered in time, and has failed after all, attempt {attempt}: {error}",
    "probe_succeeded": "it was found that {step} has happened",
    "probe_failed": "nobody can tell whether {step} has happened, question {attempt}: {error}",
    "probe_rejected": "it was found that {step} has not happened",
    "probe_timed_out": "whether {step} has happened was not answered in time, question {attempt}",
    "probe_retry_due": "it is asked again whether {step} has happened",
    "compensation_succeeded": "{step} undone",
    "compensation_failed": "undo of {step} failed, attempt {attempt}: {error}",
    "compensation_rejected": "undo of {step} refused by its worker: {error}",
    "compensation_timed_out": "undo of {step} not answered in time, attempt {attempt}",
    "compensation_retry_due": "undo of {step} is tried again",
    "compensation_progressed": "undo of {step} is still at work",
    "signalled": "{step} has its signal",
    "signal_kept": "a signal came, and is kept until a step waits for it",
    "wait_over": "the wait of {step} is over",
    "left_out": "{step} left out, for its condition does not hold",
    "expression_failed": "an expression of {step} has no value: {error}",
    "deadline_passed": "the deadline has passed",
    "retry_requested": "told to try {step} again",
    "skip_requested": "told to go on without {step}",
    "resolved_succeeded": "told that {step} has succeeded",
    "resolved_failed": "told that {step} has failed",
    "resolved_compensated": "told that {step} is undone",
    "cancel_requested": "cancelled",
    "compensate_requested": "told to undo everything",
    "pause_requested": "paused",
    "resume_requested": "resumed",
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
    error = error_text(entry.error_code, entry.error_message)
    what = known.format(step=entry.step, attempt=entry.attempt, error=error) + _by_whom(entry)
    sent = [f"sent {_command(command)}" for command in entry.sent]
    turned = [f"the saga is now {entry.status}"] if entry.status != status_before else []
    return "; ".join([what, *turned, *sent])


def _by_whom(entry: HistoryRow) -> str:
    if entry.actor is None:
        return ""
    return f" by {entry.actor}" + (f" ({entry.reason})" if entry.reason else "")


def _time_of_day(at: datetime, before: HistoryRow | None) -> str:
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return text if before is None or before.at.date() != at.date() else text[11:].rjust(len(text))


def _command(named: str) -> str:
    """`step:direction:attempt` in words."""
    step, direction, attempt = named.rsplit(":", 2)
    what = _DIRECTIONS.get(direction, f"{direction} of {{step}}").format(step=step)
    return what if attempt == "1" or direction == "cancel" else f"{what} (attempt {attempt})"


_DIRECTIONS = {
    "action": "{step}",
    "compensation": "undo of {step}",
    "probe": "the question whether {step} has happened",
    "cancel": "the word to stop to the child saga of {step}",
}


def error_text(code: str | None, message: str | None) -> str:
    return ": ".join(part for part in (code, message) if part) or "no reason given"


def why(saga: SagaRow) -> str:
    """In a table's cell: what a stuck saga is stuck at, else why it is or was undone."""
    if saga.stuck_step is not None:
        return f"{saga.stuck_step}: {error_text(saga.stuck_code, saga.stuck_message)}"
    if saga.error_code is None:
        return ""
    of_step = f"{saga.error_step}: " if saga.error_step else ""
    return f"{of_step}{error_text(saga.error_code, saga.error_message)}"


# ------------------------------------------------------------------------------------------------------------ steps


def _steps(steps: list[StepRow]) -> tuple[Row, list[Row]]:
    """The columns and the rows; those of the questions only where some were asked."""
    if not any(step.probes for step in steps):
        return ("step", "status", "attempts", "undo attempts", "error"), [
            (step.step, step.status, str(step.attempts), str(step.compensation_attempts or ""), _error_of(step))
            for step in steps
        ]
    return ("step", "status", "attempts", "questions", "undo attempts", "error"), [
        (
            step.step,
            step.status,
            str(step.attempts),
            str(step.probes or ""),
            str(step.compensation_attempts or ""),
            _error_of(step),
        )
        for step in steps
    ]


def _error_of(step: StepRow) -> str:
    return error_text(step.error_code, step.error_message) if step.error_code else ""


def _child(child: SagaRow) -> Row:
    return child.id, child.status, child.saga, child.parent_step or "", why(child)


def _signal(signal: SignalRow) -> Row:
    return signal.name, signal.signal_id, "taken" if signal.taken else "kept until a step waits for it"


def _awaited(story: SagaStory, now: datetime) -> Iterator[str]:
    for step in story.steps:
        if step.waiting_for is None or step.due_at is None:
            continue
        undo = step.status == "compensating"
        child = next((row for row in story.children if row.parent_step == step.step and row.ended_at is None), None)
        waiting_for = "child" if child is not None and step.waiting_for == "timeout" else step.waiting_for
        yield _WAITS.get(waiting_for, "{waiting_for} of {what}, {when}").format(
            waiting_for=waiting_for,
            what=f"undo of {step.step}" if undo else step.step,
            attempt=step.compensation_attempts if undo else step.attempts,
            question=step.probes,
            signal=f"signal {step.signal}" if step.signal else "signal",
            child="" if child is None else f"{child.saga} {child.id}, which is {child.status}",
            when=_when(step.due_at, now),
        )


_WAITS = {
    "timeout": "the worker's reply to {what} (attempt {attempt}); counts as not answered {when}",
    "child": "the child saga of {what}: {child}; counts as not answered {when}",
    "retry": "the next attempt of {what}, {when}; {attempt} so far",
    "probe_timeout": "word whether {what} has happened (question {question}); counts as not answered {when}",
    "probe_retry": "the next question whether {what} has happened, {when}; {question} so far",
    "sleep": "the end of {what}, {when}",
    "signal": "the {signal}, for {what}; the wait for it is over {when}",
}


def _when(at: datetime, now: datetime) -> str:
    if at > now:
        return f"in {duration(at - now)} ({moment(at)})"
    return f"{duration(now - at)} ago ({moment(at)}): overdue"


def _heading_of(debts: list[DebtRow]) -> str:
    ordered = all(debt.undo_order is not None for debt in debts)
    return "Still to be undone, in this order" if ordered else "Still to be undone"


def _owed(debt: DebtRow) -> str:
    undo = f"by {debt.compensation}" if debt.compensation else "by a command that is not on record"
    error = f": {error_text(debt.error_code, debt.error_message)}" if debt.error_code else ""
    order = "" if debt.undo_order is None else f"{debt.undo_order}. "
    return f"{order}{debt.step} ({debt.status}) {undo}{error}"
