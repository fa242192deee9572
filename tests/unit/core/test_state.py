"""The changes of a step that are made by position change what they name, and nothing else."""

from __future__ import annotations

from saga_service.core.state import Fault, StepState
from saga_service.core.vocabulary import Due, StepStatus

FULL = StepState(
    name="charge",
    status=StepStatus.UNKNOWN,
    attempts=11,
    compensation_attempts=12,
    effect_revision=13,
    due_at_ms=14,
    due=Due.PROBE_RETRY,
    unanswered=(15,),
    output={"by": 16},
    fault=Fault("17", "seventeen"),
    started_at_ms=18,
    ended_at_ms=19,
    deadline_ms=20,
    probes=21,
    series_after=22,
    series_since_ms=23,
)


def test_a_dispatched_step_differs_by_its_attempt_alone() -> None:
    assert FULL.dispatched(100, 200, 300) == FULL._replace(
        status=StepStatus.DISPATCHED,
        attempts=12,
        effect_revision=None,
        due_at_ms=200,
        due=Due.TIMEOUT,
        ended_at_ms=None,
        deadline_ms=300,
    )
    assert FULL._replace(started_at_ms=None).dispatched(100, 200, None).started_at_ms == 100


def test_a_step_that_succeeded_differs_by_its_result_alone() -> None:
    assert FULL.succeeded(100, 200, {"by": 1}) == FULL._replace(
        status=StepStatus.SUCCEEDED,
        due_at_ms=None,
        due=None,
        unanswered=(),
        output={"by": 1},
        fault=None,
        ended_at_ms=100,
        deadline_ms=None,
    )
    assert FULL._replace(effect_revision=None).succeeded(100, 200, None).effect_revision == 200
