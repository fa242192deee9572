"""One saga for a person on call: what happened when, what is awaited, what is to be undone, what to type next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import orjson

from saga_service.admin.text import harmless, shell_word
from saga_service.admin.views import AwaitedRow, DebtRow, HistoryRow, SagaRow, SagaStory, SignalRow, StepRow
from saga_service.cli.console.advice import next_steps
from saga_service.cli.console.output import duration, moment, print_heading, print_line
from saga_service.cli.console.tables import Row, print_table
from saga_service.core.definition import Definition
from saga_service.core.state import SagaState
from saga_service.core.undo_plan import plan

_EVENTS = {
    "started": "started",
    "action_succeeded": "{step} done",
    "action_failed": "{step} failed, attempt {attempt}: {error}",
    "action_rejected": "{step} refused by its worker: {error}",
    "action_timed_out": "{step} not answered in time, attempt {attempt}: it may or may not have happened",
    "action_retry_due": "{step} is tried again",
    "action_progressed": "{step} is still at work",
    "action_failed_late": "{step} had not answered in time, and has failed after all, attempt {attempt}: {error}",
    "action_left_unknown": "{step} failed, and may have happened all the same, attempt {attempt}: {error}",
    "action_output_refused": "{step} has happened, and its output cannot be used: {error}",
    "probe_confirmed": "it was found that {step} has happened",
    "probe_inconclusive": "it is still not known whether {step} has happened, probe {attempt}: {error}",
    "probe_denied": "it was found that {step} has not happened",
    "probe_timed_out": "whether {step} has happened was not answered in time, probe {attempt}",
    "probe_retry_due": "another probe whether {step} has happened",
    "compensation_succeeded": "{step} undone",
    "compensation_failed": "undo of {step} failed, attempt {attempt}: {error}",
    "compensation_rejected": "undo of {step} refused by its worker: {error}",
    "compensation_timed_out": "undo of {step} not answered in time, attempt {attempt}",
    "compensation_retry_due": "undo of {step} is tried again",
    "compensation_progressed": "undo of {step} is still at work",
    "signal_received": "{step} has its signal",
    "signal_buffered": "a signal came, and is kept until a step waits for it",
    "wait_ended": "the wait of {step} is over",
    "condition_not_met": "{step} left out, for its condition does not hold",
    "expression_failed": "an expression of {step} has no value: {error}",
    "deadline_passed": "the deadline has passed",
    "retry_requested": "retry of {step} requested",
    "skip_requested": "skip of {step} requested",
    "resolved_succeeded": "{step} resolved as succeeded",
    "resolved_failed": "{step} resolved as failed",
    "resolved_compensated": "{step} resolved as compensated",
    "cancel_requested": "cancelled",
    "compensate_requested": "compensation of the whole saga requested",
    "pause_requested": "paused",
    "resume_requested": "resumed",
}


TIMELINE = ("time (UTC)", "after", "what happened")


def timeline(history: list[HistoryRow]) -> list[Row]:
    """A row for each line of history: time of day, time since the start, and what happened."""
    rows: list[Row] = []
    before: HistoryRow | None = None
    for entry in history:
        since = duration(entry.at - history[0].at) if before else ""
        rows.append((_time_of_day(entry.at, before), since, happened(entry, before.status if before else "running")))
        before = entry
    return rows


def happened(entry: HistoryRow, status_before: str) -> str:
    """One line of history in words. `status_before` is the saga's status before it."""
    known = _EVENTS.get(entry.event, f"{entry.event} {{step}}")
    error = error_text(entry.error_code, entry.error_message)
    what = known.format(step=entry.step, attempt=entry.attempt, error=error) + _by_whom(entry)
    sent = [f"sent {_command(command)}" for command in entry.sent]
    status = [f"the saga is now {entry.status}"] if entry.status != status_before else []
    return "; ".join([what, *status, *sent])


def _by_whom(entry: HistoryRow) -> str:
    if entry.actor is None:
        return ""
    return f" by {entry.actor}" + (f" ({entry.reason})" if entry.reason else "")


def _time_of_day(at: datetime, before: HistoryRow | None) -> str:
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return text if before is None or before.at.date() != at.date() else text[11:].rjust(len(text))


def _command(named: str) -> str:
    """The command `step:direction:attempt` in words."""
    step, direction, attempt = named.rsplit(":", 2)
    what = _DIRECTIONS.get(direction, f"{direction} of {{step}}").format(step=step)
    return what if attempt == "1" or direction == "cancel" else f"{what} (attempt {attempt})"


_DIRECTIONS = {
    "action": "{step}",
    "compensation": "undo of {step}",
    "probe": "a probe whether {step} has happened",
    "cancel": "a cancel to the child saga of {step}",
}


def error_text(code: str | None, message: str | None) -> str:
    return ": ".join(part for part in (code, message) if part) or "no reason given"


def why(saga: SagaRow) -> str:
    """The reason for a saga's state: what a stuck one is stuck at, else why it is or was undone."""
    if saga.stuck_step is not None:
        return f"{saga.stuck_step}: {error_text(saga.stuck_code, saga.stuck_message)}"
    if saga.error_code is None:
        return ""
    of_step = f"{saga.error_step}: " if saga.error_step else ""
    return f"{of_step}{error_text(saga.error_code, saga.error_message)}"


def print_story(
    story: SagaStory,
    state: SagaState | None,
    definition: Definition | None,
    now: datetime,
    address: str,
    lacking: Mapping[str, str] = MappingProxyType({}),
    outdated: Collection[str] = (),
) -> None:
    """Print the whole story. `address` names the saga in the commands to paste; the definition may be unknown.

    `lacking` has a remark on each awaited command that no worker carries out; `outdated` has those of them that the
    deployed version does not send any more.
    """
    saga = story.saga
    print_heading(harmless(f"{saga.saga} {saga.id}: {saga.status}"))
    for line in _summary(story, state, definition, now):
        print_line(line)
    print_line()
    print_table(TIMELINE, timeline(story.history), texts=TIMELINE[-1:])
    print_line()
    print_table(*_steps(story.steps), texts=("error",))
    for heading, columns, rows in (
        ("Input and outputs", ("of", "value"), list(_data(story))),
        ("Child sagas", ("id", "status", "saga", "step", "why"), [_child(child) for child in story.children]),
        ("Signals", ("signal", "id", "what became of it"), [_signal(signal) for signal in story.signals]),
    ):
        if rows:
            print_line()
            print_heading(f"{heading}:")
            print_table(columns, rows, texts=("value", "why", "what became of it"))
    for heading, lines in (
        ("Waiting for", list(_awaited(story, now, lacking))),
        (_heading_of(story.debt), [_debt(debt) for debt in story.debt]),
        ("Next", list(next_steps(story, state, definition, now, address, lacking, outdated))),
    ):
        if lines:
            print_line()
            print_heading(f"{heading}:")
            for line in lines:
                print_line(f"  {line}")


def _summary(story: SagaStory, state: SagaState | None, definition: Definition | None, now: datetime) -> Iterator[str]:
    saga = story.saga
    if saga.key is not None:
        yield f"key {shell_word(saga.key)}"
    yield f"version {saga.version} of its definition"
    if saga.parent_id is not None:
        parent = story.parent
        which = f"saga {saga.parent_id}" if parent is None else f"{parent.saga} {parent.id} ({parent.status})"
        yield f"child of {which}, for its step {saga.parent_step}"
    took = f"ended {moment(saga.ended_at)} after {duration(saga.ended_at - saga.created_at)}" if saga.ended_at else ""
    still = f"{duration(now - saga.created_at)} ago, last change {duration(now - saga.updated_at)} ago"
    yield f"started {moment(saga.created_at)} UTC, {took or still}"
    if saga.status in ("stuck", "paused"):
        yield _COURSES.get(saga.course, saga.course)
    if saga.deadline_at is not None and saga.ended_at is None and saga.course == "forward":
        yield f"deadline {_deadline(state, definition, saga.deadline_at, now)}"
    if saga.error_code is not None:
        yield f"because {error_text(saga.error_code, saga.error_message)}" + (
            f" (step {saga.error_step})" if saga.error_step else ""
        )
    if saga.course == "backward" and saga.stuck_step is not None:
        yield f"stuck at the undo of {saga.stuck_step}: {error_text(saga.stuck_code, saga.stuck_message)}"


def _deadline(state: SagaState | None, definition: Definition | None, at: datetime, now: datetime) -> str:
    if definition is None or state is None:
        return f"{_when(at, now)}: what is not done then is undone, unless the saga has passed its pivot"
    stays_because = plan(definition, state).stays_because
    if stays_because is None:
        return f"{_when(at, now)}: what is not done then is undone"
    # It may be over, and nobody is late.
    return f"{moment(at)}: as it stands, nothing is undone for it; {stays_because}"


_COURSES = {
    "forward": "on its way forward: its steps are being done",
    "backward": "on its way back: its effects are being undone",
}


def _steps(steps: list[StepRow]) -> tuple[Row, list[Row]]:
    """The columns and the rows. Probes have a column only where some were sent."""
    if not any(step.probes for step in steps):
        return ("step", "status", "attempts", "undo attempts", "error"), [
            (step.step, step.status, str(step.attempts), str(step.compensation_attempts or ""), _error_of(step))
            for step in steps
        ]
    return ("step", "status", "attempts", "probes", "undo attempts", "error"), [
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


DATA_CHARACTERS_MAX = 2_000
"""The longest value that a story shows. Programs get it whole."""


def _data(story: SagaStory) -> Iterator[Row]:
    """The saga's input, and the output of each step that has one."""
    if story.saga.input:
        yield "input", _value(story.saga.input)
    for step in story.steps:
        if step.output is not None:
            yield step.step, _value(step.output)


def _value(value: object) -> str:
    # Encrypted data that cannot be decrypted here is a text that says so.
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    left = len(text) - DATA_CHARACTERS_MAX
    return text if left <= 0 else f"{text[:DATA_CHARACTERS_MAX]}… ({left:,} characters more: --json)"


def _error_of(step: StepRow) -> str:
    return error_text(step.error_code, step.error_message) if step.error_code else ""


def _child(child: SagaRow) -> Row:
    return child.id, child.status, child.saga, child.parent_step or "", why(child)


def _signal(signal: SignalRow) -> Row:
    waits = "a step waits" if signal.step is None else f"step {signal.step} waits"
    return signal.name, signal.signal_id, "taken" if signal.taken else f"kept until {waits} for it"


def awaited_command(step: StepRow) -> str | None:
    """The command whose reply the step waits for, or that it sends next; None where it waits for something else."""
    if step.waiting_for not in ("timeout", "retry"):
        return None
    return step.compensation if step.status == "compensating" else step.action


def _awaited(story: SagaStory, now: datetime, lacking: Mapping[str, str]) -> Iterator[str]:
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
            probe=step.probes,
            signal=f"signal {step.signal}" if step.signal else "signal",
            child="" if child is None else f"{child.saga} {child.id}, which is {child.status}",
            when=_when(step.due_at, now),
        )
        if remark := lacking.get(awaited_command(step) or ""):
            yield f"  {remark}"


_WAITS = {
    "timeout": "the worker's reply to {what} (attempt {attempt}); counts as not answered {when}",
    "child": "the child saga of {what}: {child}; counts as not answered {when}",
    "retry": "the next attempt of {what}, {when}; {attempt} so far",
    "probe_timeout": "the answer whether {what} has happened (probe {probe}); counts as not answered {when}",
    "probe_retry": "the next probe whether {what} has happened, {when}; {probe} so far",
    "sleep": "the end of {what}, {when}",
    "signal": "the {signal}, for {what}; the wait for it is over {when}",
}


def awaited_in_short(saga: SagaRow, steps: Iterable[AwaitedRow], now: datetime) -> str:
    """What a saga of a list waits for, and until when; empty where it has ended."""
    if saga.status in _AWAITED_OF_A_PERSON:
        return _AWAITED_OF_A_PERSON[saga.status]
    return "; ".join(_step_in_short(step, now) for step in steps)


_AWAITED_OF_A_PERSON = {"paused": "resume", "stuck": "a person"}


def _step_in_short(step: AwaitedRow, now: datetime) -> str:
    waiting_for = "child" if step.task == "child" and step.waiting_for == "timeout" else step.waiting_for
    what = _WAITS_IN_SHORT.get(waiting_for, "{waiting_for} of {what}").format(
        waiting_for=waiting_for,
        what=f"undo of {step.step}" if step.status == "compensating" else step.step,
        signal=step.signal or "signal",
    )
    left = step.due_at - now
    return f"{what}, in {duration(left)}" if left > timedelta() else f"{what}, overdue by {duration(-left)}"


_WAITS_IN_SHORT = {
    "timeout": "reply to {what}",
    "child": "child of {what}",
    "retry": "next attempt of {what}",
    "probe_timeout": "reply to the probe of {what}",
    "probe_retry": "next probe of {what}",
    "sleep": "end of {what}",
    "signal": "signal {signal}",
}


def _when(at: datetime, now: datetime) -> str:
    if at > now:
        return f"in {duration(at - now)} ({moment(at)})"
    return f"{duration(now - at)} ago ({moment(at)}): overdue"


def _heading_of(debts: list[DebtRow]) -> str:
    ordered = all(debt.undo_order is not None for debt in debts)
    return "Still to be undone, in this order" if ordered else "Still to be undone"


def _debt(debt: DebtRow) -> str:
    undo = f"by {debt.compensation}" if debt.compensation else "by a command that is not registered"
    error = f": {error_text(debt.error_code, debt.error_message)}" if debt.error_code else ""
    order = "" if debt.undo_order is None else f"{debt.undo_order}. "
    return f"{order}{debt.step} ({debt.status}) {undo}{error}"
