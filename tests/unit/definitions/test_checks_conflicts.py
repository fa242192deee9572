"""What the sagas of one service cannot ask of one another, over all of its sources."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from saga_service.definitions import DefinitionErrors, load_definitions


def problems_of(directory: Path, text: str) -> list[str]:
    (directory / "a.yaml").write_text(dedent(text))
    with pytest.raises(DefinitionErrors) as raised:
        load_definitions(["a.yaml"])
    return [str(problem) for problem in raised.value.problems]


def saga(name: str, *steps: str, more: str = "") -> str:
    return f"name: {name}\n{more}steps: [{', '.join(steps)}]\n---\n"


COMMAND = "{name: a, action: b.c}"


def child(saga_name: str, more: str = "") -> str:
    return f"{{name: {saga_name}, saga: {saga_name}{more}}}"


def test_a_signal_is_no_event_that_starts_a_saga(directory: Path) -> None:
    one = saga(
        "one", "{name: a, signal: two}", "{name: b, signal: e}", "{name: c, signal: one}", "{name: d, signal: x}"
    )
    assert problems_of(directory, one + saga("two", COMMAND, more="triggers: [{event_type: e}]\n")) == [
        f"a.yaml:2: step '{step}', signal: is '{signal}', an event type that starts the saga at a.yaml:{line}; "
        "change one of them"
        for step, signal, line in (("a", "two", 4), ("b", "e", 5), ("c", "one", 1))
    ]


def test_what_begins_like_the_services_own_events_is_reserved(directory: Path) -> None:
    text = saga("one", "{name: a, signal: saga.cancel}", more="triggers: [{event_type: saga.child.start}]\n")
    told = "and what begins with 'saga.' is the service's own; write another name"
    assert problems_of(directory, text) == [
        f"a.yaml:2: triggers[0].event_type: is 'saga.child.start', {told}",
        f"a.yaml:3: step 'a', signal: is 'saga.cancel', {told}",
    ]


def test_a_child_saga_is_among_the_definitions(directory: Path) -> None:
    text = saga("shipment", COMMAND) + saga("order", child("shipmnt"), child("zzz"))
    told = "and no saga of that name is among the definitions"
    assert problems_of(directory, text) == [
        f"a.yaml:5: step 'shipmnt', saga: is 'shipmnt', {told}; did you mean 'shipment'?",
        f"a.yaml:5: step 'zzz', saga: is 'zzz', {told}; there are: shipment, order",
    ]


def test_a_child_may_come_from_another_source(directory: Path, module: str) -> None:
    (directory / "order.yaml").write_text(saga("order", child("shipment")))
    (directory / f"{module}.py").write_text(
        "from saga_service import Saga, Step\nshipment = Saga('shipment', steps=[Step('a', action='b.c')])\n"
    )
    catalog = load_definitions(["order.yaml", module])
    assert [spec.name for spec in catalog.specs()] == ["order", "shipment"]


def test_a_saga_is_not_its_own_descendant(directory: Path) -> None:
    text = saga("one", child("two"), child("one")) + saga("two", COMMAND, child("three")) + saga("three", child("one"))
    assert problems_of(directory, text) == [
        "a.yaml:2: step 'two', saga: starts itself over again: one -> two -> three -> one; break the circle",
        "a.yaml:2: step 'one', saga: starts itself over again: one -> one; break the circle",
    ]


def test_two_sagas_may_have_the_same_child(directory: Path) -> None:
    text = saga("one", child("leaf"), child("two")) + saga("two", child("leaf")) + saga("leaf", COMMAND)
    (directory / "a.yaml").write_text(text)
    assert len(load_definitions(["a.yaml"]).specs()) == 3


@pytest.mark.parametrize("kind", ["", ", kind: compensatable"])
def test_a_child_that_decides_is_no_step_that_can_be_undone(directory: Path, kind: str) -> None:
    deciding = saga("deciding", "{name: a, action: b.c, kind: pivot}")
    assert problems_of(directory, deciding + saga("order", child("deciding", kind))) == [
        "a.yaml:5: step 'deciding', kind: must be 'pivot' or 'retriable': the child saga 'deciding' has a pivot, "
        "and cannot be undone after it"
    ]


@pytest.mark.parametrize("kind", ["pivot", "retriable"])
def test_a_child_that_decides_is_a_step_that_does_so_too_or_is_never_undone(directory: Path, kind: str) -> None:
    deciding = saga("deciding", "{name: a, action: b.c, kind: pivot}")
    (directory / "a.yaml").write_text(deciding + saga("order", child("deciding", f", kind: {kind}")))
    assert len(load_definitions(["a.yaml"]).specs()) == 2


def test_what_is_no_saga_takes_no_part(directory: Path) -> None:
    text = "steps: [{name: a, saga: one}, 5]\n---\nname: one\nsteps: 7\n---\n[]\n"
    assert [problem.split(": ")[:2] for problem in problems_of(directory, text)] == [
        ["a.yaml:1", "name"],
        ["a.yaml:1", "steps[1]"],
        ["a.yaml:4", "steps"],
        ["a.yaml:6", "must be a mapping with 'name' and 'steps', but is a list; write each saga as a document"],
    ]
