"""The sagas of the end-to-end tests. What their workers do follows the input: see `workers`."""

from __future__ import annotations

from saga_service.definitions import Retry, Saga, Step

TRIP = {
    "type": "object",
    "required": ["trip"],
    "properties": {"trip": {"type": "string", "minLength": 1}, "plan": {"type": "object", "default": {}}},
}

QUICKLY = Retry(attempts=3, first_delay="100ms", max_delay="1s")
"""Three attempts: a plan that fails three times gives the step up."""


def _trip(name: str, timeout: str, retry: Retry, compensation_retry: Retry) -> Saga:
    def step(step_name: str, service: str, *, can_be_undone: bool = True) -> Step:
        return Step(
            step_name,
            action=f"{service}.{step_name}",
            compensation=f"{service}.undo_{step_name}" if can_be_undone else None,
            timeout=timeout,
            compensation_timeout=timeout,
            retry=retry,
            compensation_retry=compensation_retry if can_be_undone else None,
        )

    return Saga(
        name,
        input=TRIP,
        key="trip",
        steps=[
            step("flight", "travel"),
            step("hotel", "travel"),
            step("car", "rental"),
            step("invoice", "rental", can_be_undone=False),
        ],
    )


trip = _trip("trip", "20s", QUICKLY, QUICKLY)
"""Nothing times out, however slow the machine."""

hasty = _trip("hasty", "700ms", Retry(attempts=2, first_delay="50ms"), Retry(attempts=2, first_delay="50ms"))
"""Times out at once."""

brisk = _trip("brisk", "3s", Retry(attempts=10, first_delay="100ms"), Retry(attempts=10, first_delay="100ms"))
"""Sends a command again that was lost on the way."""

decisive = Saga(
    "decisive",
    input=TRIP,
    key="trip",
    steps=[Step("flight", action="travel.flight", kind="pivot", timeout="2s", retry=QUICKLY)],
)
"""Waits for a person where its only step may have happened."""

by_hand = Saga(
    "by-hand",
    steps=[
        Step("first", action="hand.first", compensation="hand.undo_first", timeout="60s"),
        Step("second", action="hand.second", compensation="hand.undo_second", timeout="60s", retry=Retry(attempts=2)),
    ],
)
"""Its service has no worker: the test itself answers."""

left_waiting = Saga(
    "left-waiting",
    steps=[
        Step(
            "first",
            action="hand.first",
            compensation="hand.undo_first",
            timeout="1s",
            retry=Retry(attempts=2, first_delay="10m", max_delay="10m"),
            compensation_timeout="1s",
            compensation_retry=Retry(attempts=1),
        ),
        Step("second", action="hand.second", timeout="60s"),
    ],
)
"""Answered by the test too, and never in time."""
