"""Checks of the pivot: each one broken, with the path and the whole text of its problem."""

from __future__ import annotations

import pytest

from saga_service.definitions import Step
from tests.support.checked_sagas import PIVOT, command, problems_of, right

AFTER = "comes after the pivot 'pay', and must not fail"
NOT_AFTER = "may run while the pivot 'pay' does"


def test_one_step_alone_decides() -> None:
    assert problems_of(PIVOT, command("book", kind="pivot")) == [
        ("steps[1].kind", "is 'pivot', as is that of 'pay', and one step alone decides; keep one")
    ]


def test_a_pivot_is_not_undone() -> None:
    assert problems_of(command("pay", kind="pivot", compensation="pay.undo")) == [
        ("steps[0].compensation", "cannot be: once a pivot is done, nothing is undone; leave it out")
    ]


@pytest.mark.parametrize(
    "late", [command("ship"), Step("ship", saga="shipment"), command("ship", kind="compensatable")]
)
def test_what_comes_after_the_pivot_is_retriable(late: Step) -> None:
    assert problems_of(PIVOT, Step("nap", sleep="1h"), late) == [
        ("steps[2].kind", "must be 'retriable': the step comes after the pivot 'pay'; write it")
    ]


def test_what_comes_after_the_pivot_is_not_undone() -> None:
    assert problems_of(PIVOT, command("ship", kind="retriable", compensation="ship.undo")) == [
        (
            "steps[1].compensation",
            "cannot be: the step comes after the pivot 'pay', and nothing is undone then; leave it out",
        )
    ]


def test_what_may_run_beside_the_pivot_is_retriable() -> None:
    assert problems_of(command("check"), PIVOT, command("tell", after=["check"])) == [
        (
            "steps[2].kind",
            "must be 'retriable': the step may run while the pivot 'pay' does; write it, "
            "or let one of the two wait for the other by 'after'",
        )
    ]
    beside = command("tell", after=["check"], kind="retriable", compensation="tell.undo")
    assert right(command("check"), PIVOT, beside).definition.pivot == 1


def test_a_signal_that_the_pivot_does_not_wait_for_has_a_default() -> None:
    more = "write what stands for the signal when it does not come"
    assert problems_of(command("a"), PIVOT, Step("b", signal="go"), Step("c", signal="go", after="a")) == [
        ("steps[2].default", f"is missing: the step comes after the pivot 'pay', and must not fail; {more}"),
        ("steps[3].default", f"is missing: the step may run while the pivot 'pay' does, and must not fail; {more}"),
    ]


def test_a_saga_with_all_kinds_in_their_places_is_right() -> None:
    steps = [
        Step("approval", signal="go"),
        command("reserve", compensation="reserve.undo"),
        Step("pay", saga="payment", kind="pivot"),
        Step("nap", sleep="1h"),
        Step("slot", signal="slot", default={}),
        command("ship", kind="retriable", on_unknown="hold"),
        Step("bill", saga="bill", kind="retriable"),
    ]
    definition = right(*steps).definition
    assert definition.pivot == 2
    assert [step.kind.value for step in definition.steps] == [
        *["compensatable"] * 2, "pivot", *["compensatable"] * 2, *["retriable"] * 2,
    ]  # fmt: skip
