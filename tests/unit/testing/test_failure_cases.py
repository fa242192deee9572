"""The test kit: every failure of a saga."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saga_service.core.definition import StepDefinition
from saga_service.core.vocabulary import Kind, Task
from saga_service.testing import StepFailure, every_failure
from tests.support.builders import definition, step

APPROVAL = StepDefinition(name="approval", task=Task.SIGNAL, action="approved", timeout_ms=60_000)
NIGHT = StepDefinition(name="night", task=Task.SLEEP, timeout_ms=60_000)
REFUND = definition("pay", name="refund")
ORDER = definition(
    "reserve",
    "charge",
    APPROVAL,
    NIGHT,
    replace(step("refund", undoable=False), task=Task.CHILD, action="refund"),
    step("ship", undoable=False),
)
UNDONE = {
    "reserve fails": [],
    "reserve times out": ["reserve"],
    "charge fails": ["reserve"],
    "charge times out": ["charge", "reserve"],
    "approval never comes": ["charge", "reserve"],
    "refund fails": ["charge", "reserve"],
    "ship fails": ["refund", "charge", "reserve"],
    "ship times out": ["refund", "charge", "reserve"],
}


def test_every_step_fails_in_every_way_that_it_can() -> None:
    assert [str(failure) for failure in every_failure([ORDER, REFUND])] == list(UNDONE)


@pytest.mark.parametrize("failure", every_failure([ORDER, REFUND]), ids=str)
def test_every_failure_ends_compensated_in_the_right_order(failure: StepFailure) -> None:
    saga = failure.run({"amount": 30}, signals={"approved": {"by": "ada"}})
    assert saga.status == "compensated"
    assert saga.undone == UNDONE[str(failure)]
    assert saga.outstanding == []


def test_one_of_several_sagas_is_named() -> None:
    assert [str(failure) for failure in every_failure([ORDER, REFUND], "refund")] == ["pay fails", "pay times out"]
    with pytest.raises(KeyError, match="no saga 'refnud' is given; there are: order, refund"):
        every_failure([ORDER, REFUND], "refnud")


def test_a_failure_that_may_not_start_a_compensation_leaves_it_stuck() -> None:
    retriable = definition("reserve", replace(step("ship", undoable=False), kind=Kind.RETRIABLE))
    statuses = {str(failure): failure.run().status for failure in every_failure(retriable)}
    assert statuses == {
        "reserve fails": "compensated",
        "reserve times out": "compensated",
        "ship fails": "stuck",
        "ship times out": "stuck",
    }
