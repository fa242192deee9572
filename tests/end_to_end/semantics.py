"""Sagas with all that a saga can have: graphs, pivots, waits, doubts, children. Their workers are in `workers`."""

from __future__ import annotations

from saga_service.definitions import Retry, Saga, Step
from tests.end_to_end.sagas import QUICKLY, TRIP


def _step(name: str, **more: object) -> Step:
    """A step of the laboratory that can be undone, and does not time out however slow the machine."""
    written: dict[str, object] = {
        "action": f"lab.{name}",
        "compensation": f"lab.undo_{name}",
        "timeout": "20s",
        "retry": QUICKLY,
        "compensation_retry": QUICKLY,
    }
    return Step(name, **(written | more))  # type: ignore[arg-type]  # the words are those of Step


_FINAL = {"compensation": None, "compensation_retry": None}

graph = Saga(
    "graph",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        _step("left", after="plan"),
        _step("right", after="plan"),
        _step("extra", after="plan", when="has(input.plan.extra)"),
        _step(
            "join",
            after=["left", "right", "extra"],
            input={
                "plan": "input.plan",
                "who": "input.trip",
                "right": "outputs.right.attempt",
                "note": "'from the graph'",
            },
        ),
    ],
)
"""Two branches side by side, one more by a condition, and a join with an input of its own."""

decided = Saga(
    "decided",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        _step("decide", kind="pivot", **_FINAL),
        _step("tell", kind="retriable", retry=Retry(attempts=2, first_delay="50ms"), **_FINAL),
    ],
)

approved = Saga(
    "approved",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        Step("approval", signal="trip.approved", timeout="60s"),
        _step("left", input={"plan": "input.plan", "by": "outputs.approval.by"}),
    ],
)

impatient = Saga(
    "impatient",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        Step("approval", signal="trip.permitted", timeout="300ms", default={"by": "nobody"}),
        Step("nap", sleep="200ms"),
        Step("second_approval", signal="trip.permitted.again", timeout="300ms"),
    ],
)
"""The first wait has a default, the second has none."""

parent = Saga(
    "parent",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        Step("journey", saga="journey", input={"plan": "input.plan", "for": "input.trip"}),
        _step("join"),
    ],
)
journey = Saga("journey", steps=[_step("left"), _step("right")])
grandparent = Saga(
    "grandparent",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        Step("visit", saga="parent", input={"trip": "input.trip + ', within'", "plan": "input.plan"}),
        _step("extra"),
    ],
)
"""Its child has a child. `extra` is its own: what it is told to do befalls neither."""

asking = Saga(
    "asking",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        _step("charge", timeout="1500ms", on_unknown="probe", probe="lab.find_charge"),
    ],
)

recorded = Saga(
    "recorded",
    input=TRIP,
    key="trip",
    steps=[
        Step(
            "charge",
            action="ledger.charge",
            compensation="ledger.undo_charge",
            timeout="3s",
            on_unknown="probe",
            probe="ledger.find_charge",
        )
    ],
)
"""Its worker has an inbox, which answers the probe."""

held = Saga("held", input=TRIP, key="trip", steps=[_step("plan"), _step("charge", timeout="500ms", on_unknown="hold")])

late = Saga(
    "late",
    input=TRIP,
    key="trip",
    deadline="3s",
    steps=[_step("plan"), Step("nap", sleep="500ms"), _step("left"), _step("right")],
)
"""Its deadline is its own: `left` is told to take longer."""

beating = Saga(
    "beating",
    input=TRIP,
    key="trip",
    steps=[_step("left", heartbeat="2s", retry=Retry(attempts=1), on_unknown="compensate")],
)

side_by_side = Saga(
    "side-by-side",
    input=TRIP,
    key="trip",
    undo="parallel",
    steps=[
        _step("plan"),
        _step("left", after="plan"),
        _step("right", after="plan"),
        _step("join", after=["left", "right"]),
    ],
)

sparing = Saga(
    "sparing",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        _step("left", retry=Retry(attempts=100, first_delay="200ms", factor=1, jitter=False, budget="1s")),
        _step("right", retry=Retry(attempts=100, never=["planned"])),
    ],
)
"""`left` has a second for all its attempts, and `right` is not tried again after the code that a plan fails with."""

settled = Saga(
    "settled",
    input=TRIP,
    key="trip",
    steps=[
        _step("plan"),
        _step("decide", kind="pivot", **_FINAL),
        Step(
            "journey",
            saga="journey",
            kind="retriable",
            input={"plan": "input.plan"},
            retry=Retry(attempts=3, first_delay="100ms"),
        ),
    ],
)
"""A child saga after the pivot."""

pulsing = Saga(
    "pulsing",
    input=TRIP,
    key="trip",
    steps=[_step("left", timeout="10m", heartbeat="1s", retry=Retry(attempts=1), on_unknown="compensate")],
)
"""Nothing but silence ends its step."""

few = Saga("few", input=TRIP, key="trip", steps=[_step("few", timeout="2m", **_FINAL)])
paced = Saga("paced", input=TRIP, key="trip", steps=[_step("paced", timeout="2m", **_FINAL)])
"""Their handlers have limits of their own, and so they may wait for long."""
