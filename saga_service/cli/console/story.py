"""One saga for a person on call: what happened when, what is awaited, what is to be undone, what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from saga_service.cli.access.views import DebtRow, SagaRow, SagaStory, SignalRow, StepRow
from saga_service.cli.console.advice import next_steps
from saga_service.cli.console.output import Row, duration, harmless, moment, print_heading, print_line, print_table
from saga_service.cli.console.timeline import error_text, timeline, why
from saga_service.core.definition import Definition
from saga_service.core.state import SagaState
from saga_service.core.undo_plan import plan


def print_story(
    story: SagaStory, state: SagaState | None, definition: Definition | None, now: datetime, address: str
) -> None:
    """Print the whole story. `address` names the saga in the commands to paste; the definition may be unknown."""
    saga = story.saga
    print_heading(harmless(f"{saga.saga} {saga.id}: {saga.status}"))
    for line in _summary(story, state, definition, now):
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
        (_heading_of(story.debt), [_debt(debt) for debt in story.debt]),
        ("Next", list(next_steps(story, state, definition, now, address))),
    ):
        if lines:
            print_line()
            print_heading(f"{heading}:")
            for line in lines:
                print_line(f"  {line}")


def _summary(story: SagaStory, state: SagaState | None, definition: Definition | None, now: datetime) -> Iterator[str]:
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
            probe=step.probes,
            signal=f"signal {step.signal}" if step.signal else "signal",
            child="" if child is None else f"{child.saga} {child.id}, which is {child.status}",
            when=_when(step.due_at, now),
        )


_WAITS = {
    "timeout": "the worker's reply to {what} (attempt {attempt}); counts as not answered {when}",
    "child": "the child saga of {what}: {child}; counts as not answered {when}",
    "retry": "the next attempt of {what}, {when}; {attempt} so far",
    "probe_timeout": "the answer whether {what} has happened (probe {probe}); counts as not answered {when}",
    "probe_retry": "the next probe whether {what} has happened, {when}; {probe} so far",
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


def _debt(debt: DebtRow) -> str:
    undo = f"by {debt.compensation}" if debt.compensation else "by a command that is not registered"
    error = f": {error_text(debt.error_code, debt.error_message)}" if debt.error_code else ""
    order = "" if debt.undo_order is None else f"{debt.undo_order}. "
    return f"{order}{debt.step} ({debt.status}) {undo}{error}"
