"""A saga in memory as the views would tell it."""

from __future__ import annotations

from datetime import UTC, datetime

from saga_service.admin.views import SagaRow, SagaStory, StepRow
from saga_service.core.definition import StepDefinition
from saga_service.core.state import StepState
from tests.support.builders import SagaInMemory


def story_of(saga: SagaInMemory) -> SagaStory:
    """Without its past, and what is owed."""
    steps = zip(saga.state.steps, saga.definition.steps, strict=True)
    rows = [_step_row(position, step, defined) for position, (step, defined) in enumerate(steps, start=1)]
    return SagaStory(_saga_row(saga), rows, history=[], debt=[], signals=[], children=[])


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _saga_row(saga: SagaInMemory) -> SagaRow:
    state = saga.state
    return SagaRow(
        id=state.id,
        saga=state.saga,
        version=state.version,
        key=state.key,
        status=state.status,
        revision=state.revision,
        input=state.input,
        error_code=state.fault.code if state.fault else None,
        error_message=state.fault.message if state.fault else None,
        error_step=state.fault.step if state.fault else None,
        created_at=moment(state.created_at_ms),
        updated_at=moment(state.updated_at_ms),
        ended_at=_moment(state.ended_at_ms),
        course=state.course,
        deadline_at=_moment(state.deadline_ms),
        parent_id=None,
        parent_step=None,
        stuck_step=None,
        stuck_code=None,
        stuck_message=None,
    )


def _step_row(position: int, step: StepState, defined: StepDefinition) -> StepRow:
    return StepRow(
        position=position,
        step=step.name,
        status=step.status,
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        effect_revision=step.effect_revision,
        waiting_for=step.due,
        due_at=_moment(step.due_at_ms),
        in_doubt=bool(step.unanswered),
        output=step.output,
        error_code=step.fault.code if step.fault else None,
        error_message=step.fault.message if step.fault else None,
        started_at=_moment(step.started_at_ms),
        ended_at=_moment(step.ended_at_ms),
        probes=step.probes,
        signal=None,
        kind=defined.kind,
        task=defined.task,
        action=defined.action,
        compensation=defined.compensation,
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else moment(milliseconds)
