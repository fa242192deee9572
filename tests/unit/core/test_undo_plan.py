"""What would be undone if the saga failed now."""

from __future__ import annotations

from saga_service.core.undo_plan import Plan, Undo, plan
from saga_service.core.vocabulary import Kind, OnUnknown, Operation, UndoOrder
from tests.support.builders import ONCE, SagaInMemory, approval, child, running, step


def _plan(saga: SagaInMemory) -> Plan:
    return plan(saga.definition, saga.state)


def _names(waves: tuple[tuple[Undo, ...], ...]) -> list[list[str]]:
    return [[undo.step for undo in wave] for wave in waves]


def test_effects_are_undone_one_at_a_time_from_the_latest_to_the_first() -> None:
    saga = running("reserve", "charge", "ship")
    saga.succeed("reserve")
    saga.succeed("charge")
    assert _plan(saga) == Plan(
        None,
        awaited=("ship",),
        waves=(
            (Undo("charge", "service.undo-charge", is_certain=True),),
            (Undo("reserve", "service.undo-reserve", is_certain=True),),
        ),
    )


def test_side_by_side_it_goes_in_waves_by_the_graph() -> None:
    saga = running(
        "book", step("car", after=("book",)), step("hotel", after=("book",)), step("pay", after=("car", "hotel")),
        undo=UndoOrder.PARALLEL,
    )  # fmt: skip
    for name in ("book", "hotel", "car"):
        saga.succeed(name)
    assert _names(_plan(saga).waves) == [["car", "hotel"], ["book"]]
    saga.succeed("pay")
    assert _names(_plan(saga).waves) == [["pay"], ["car", "hotel"], ["book"]]


def test_what_may_have_happened_would_be_undone_first_and_is_not_certain() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve")
    saga.timer_when_due()
    planned = _plan(saga)
    assert planned.unknown == ("charge",)
    assert planned.awaited == ()
    assert planned.waves[0] == (Undo("charge", "service.undo-charge", is_certain=False),)
    assert _names(planned.waves) == [["charge"], ["reserve"]]


def test_a_step_in_flight_with_a_doubt_is_awaited_and_unknown() -> None:
    saga = running("charge")
    saga.timer_when_due()
    saga.timer_when_due()
    assert (_plan(saga).awaited, _plan(saga).unknown, _plan(saga).waves) == (("charge",), ("charge",), ())


def test_what_failed_or_has_not_begun_is_not_there() -> None:
    saga = running("reserve", step("charge", after=()), "ship")
    saga.succeed("reserve")
    saga.fail("charge")
    assert _names(_plan(saga).waves) == [["reserve"]]
    assert (_plan(saga).awaited, _plan(saga).unknown) == ((), ())


def test_what_nothing_takes_back_is_shown_as_lasting() -> None:
    saga = running("reserve", step("notify", undoable=False), approval("wait"), "ship")
    saga.succeed("reserve")
    saga.succeed("notify")
    saga.signal("approved")
    assert (_names(_plan(saga).waves), _plan(saga).lasting) == ([["reserve"]], ("notify",))


def test_a_child_saga_undoes_itself() -> None:
    saga = running(child("deliver", "delivery"), "ship")
    saga.succeed("deliver")
    assert _plan(saga).waves == ((Undo("deliver", "delivery", is_certain=True),),)


def test_past_its_pivot_a_saga_has_no_plan() -> None:
    saga = running("reserve", step("charge", kind=Kind.PIVOT), step("ship", kind=Kind.RETRIABLE))
    saga.succeed("reserve")
    assert _plan(saga) == Plan(
        "the pivot 'charge' is done, or may be: the saga can only go forward", awaited=("charge",)
    )
    saga.reject("charge")
    assert _plan(saga).stays_because is None


def test_a_pivot_in_doubt_is_shown_as_unknown() -> None:
    saga = running(step("charge", kind=Kind.PIVOT, on_unknown=OnUnknown.HOLD))
    saga.timer_when_due()
    assert _plan(saga).stays_because is not None
    assert _plan(saga).unknown == ("charge",)


def test_of_a_compensating_saga_it_is_what_is_left_to_undo() -> None:
    saga = running("reserve", "pack", step("charge", retry=ONCE))
    saga.succeed("reserve")
    saga.succeed("pack")
    saga.fail("charge")
    assert _names(_plan(saga).waves) == [["pack"], ["reserve"]]
    saga.undo_rejected("pack")
    assert _names(_plan(saga).waves) == [["pack"], ["reserve"]]
    saga.undo_succeeds("pack")
    saga.undo_succeeds("reserve")
    assert _plan(saga) == Plan(None)


def test_to_plan_changes_nothing_and_says_what_then_happens() -> None:
    saga = running("reserve", "pack", "charge", "ship")
    for name in ("reserve", "pack", "charge"):
        saga.succeed(name)
    before, planned = saga.state, _plan(saga)
    assert saga.state is before
    saga.operate(Operation.CANCEL)
    saga.reject("ship")
    for wave in planned.waves:
        saga.undo_succeeds(wave[0].step)
    assert saga.status == "compensated"
    assert [undo.step for wave in planned.waves for undo in wave] == ["charge", "pack", "reserve"]
