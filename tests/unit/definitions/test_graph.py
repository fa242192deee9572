"""A saga as a drawing: what waits for what, what decides, and how each effect is undone."""

from __future__ import annotations

from textwrap import dedent

from saga_service.definitions import Saga, Step, check_saga
from saga_service.definitions import graph as graph_of


def graph(saga: Saga) -> str:
    return graph_of(check_saga(saga).definition)


def test_a_graph_shows_the_way_forward_and_the_way_back() -> None:
    saga = Saga(
        "trip",
        steps=[
            Step("car", action="cars.book", compensation="cars.cancel"),
            Step("check", action="rules.check"),
            Step("hotel", action="hotels.book", compensation="hotels.cancel"),
        ],
    )
    assert graph(saga) == dedent(
        """\
        flowchart LR
            start(["trip"])
            step0["car<br/>cars.book"]
            step1["check<br/>rules.check"]
            step2["hotel<br/>hotels.book"]
            completed(["completed"])
            start --> step0
            step0 --> step1
            step1 --> step2
            step2 --> completed
            undo0["undo car<br/>cars.cancel"]
            step0 -.-> undo0
            undo2["undo hotel<br/>hotels.cancel"]
            step2 -.-> undo2
            undo2 --> undo0 --> compensated(["compensated"])
        """
    )


def test_every_kind_of_step_and_arrow_has_its_own_form() -> None:
    saga = Saga(
        "order",
        steps=[
            Step("check", action="rules.check"),
            Step(
                "car",
                action="cars.book",
                compensation="cars.cancel",
                after=["check"],
                when='outputs.check.car == "<b>"',
            ),
            Step("parts", saga="tour", after=["check"]),
            Step("cool-off", sleep="24h", after=["car", "parts"]),
            Step("approval", signal="order.approved", timeout="3d", default={}),
            Step("pay", action="payment.charge", kind="pivot"),
            Step("ship", saga="shipment", kind="retriable"),
            Step("tell", action="mail.send", kind="retriable", after="pay"),
        ],
    )
    assert graph(saga) == dedent(
        """\
        flowchart LR
            start(["order"])
            step0["check<br/>rules.check"]
            step1["car<br/>cars.book"]
            step2[["parts<br/>saga tour"]]
            step3(["cool-off<br/>sleep 1d"])
            step4>"approval<br/>wait for order.approved, 3d"]
            step5{{"pay<br/>payment.charge"}}
            step6[["ship<br/>saga shipment"]]
            step7["tell<br/>mail.send"]
            completed(["completed"])
            start --> step0
            step0 -->|"outputs.check.car == #quot;#lt;b#gt;#quot;"| step1
            step0 --> step2
            step1 & step2 --> step3
            step3 --> step4
            step4 --> step5
            step5 --> step6
            step5 --> step7
            step6 & step7 --> completed
            undo1["undo car<br/>cars.cancel"]
            step1 -.-> undo1
            undo2["undo parts<br/>undo saga tour"]
            step2 -.-> undo2
            undo2 --> undo1 --> compensated(["compensated"])
        """
    )


def test_undos_in_parallel_wait_for_those_of_the_steps_that_came_after() -> None:
    def undoable(name: str, *after: str) -> Step:
        return Step(name, action=f"{name}.do", compensation=f"{name}.undo", after=after)

    saga = Saga(
        "order", undo="parallel", steps=[undoable("a"), undoable("b", "a"), undoable("c", "a"), undoable("d", "b")]
    )
    assert graph(saga).splitlines()[-5:] == [
        '    compensated(["compensated"])',
        "    undo3 --> undo1",
        "    undo2 --> undo0",
        "    undo1 --> undo0",
        "    undo0 --> compensated",
    ]


def test_a_saga_without_any_undo_has_its_end_in_the_graph_all_the_same() -> None:
    one = Saga("a", steps=[Step("nap", sleep=1), Step("b", action="c.d")])
    assert graph(one).splitlines()[-1] == '    step1 -. failed .-> compensated(["compensated"])'
    sure = Saga("a", steps=[Step("b", action="c.d", kind="retriable")])
    assert "compensated" not in graph(sure)


def test_a_long_condition_is_cut_and_stands_on_one_line() -> None:
    saga = Saga("a", steps=[Step("b", action="c.d", when="1 == 1 &&\n" + " && ".join(["2 == 2"] * 20))])
    [arrow] = [line for line in graph(saga).splitlines() if "-->|" in line]
    assert arrow.startswith('    start -->|"1 == 1 #amp;#amp; 2 == 2')
    assert arrow.endswith('…"| step0')
