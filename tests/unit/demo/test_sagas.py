"""The demo sagas: one saga each, whether it is written in Python or in YAML."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.events import Started
from saga_service.definitions import Catalog, load_definitions
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger
from saga_service.wire.saga_spec import InvalidInput

IN_PYTHON = load_definitions(["saga_service.demo.sagas"])
IN_YAML = load_definitions([str(files("saga_service.demo"))])
BOTH = pytest.mark.parametrize("catalog", [IN_PYTHON, IN_YAML], ids=["python", "yaml"])

ITEMS = [{"sku": "robot", "quantity": 2}]
ORDER = {"order_id": "A-7", "customer": "Ada", "amount": 99.5, "items": ITEMS}


def test_both_forms_are_the_same_sagas_to_the_last_digit_of_their_versions() -> None:
    assert [definition.name for definition in IN_PYTHON.definitions()] == ["mission-start", "order"]
    assert IN_PYTHON.documents() == IN_YAML.documents()
    assert IN_PYTHON.definitions() == IN_YAML.definitions()
    assert IN_PYTHON.event_types() == IN_YAML.event_types()
    assert IN_PYTHON.trigger_streams() == IN_YAML.trigger_streams() == [("saga_requests", "orchestrator_group")]


def test_the_mission_has_the_steps_and_the_undo_of_its_proof_of_concept() -> None:
    [mission, _] = IN_YAML.definitions()
    assert [(step.name, step.action, step.compensation) for step in mission.steps] == [
        ("allocate_resources", "fleet.allocate_resources", "fleet.release_resources"),
        ("plan_route", "planning.plan_route", None),
        ("perform_exploration", "fleet.perform_exploration", "fleet.abort_exploration"),
        ("integrate_maps", "mapping.integrate_maps", "mapping.rollback_integration"),
    ]


@BOTH
def test_a_flat_entry_starts_a_mission(catalog: Catalog) -> None:
    """XADD saga_requests * robot_count 2 area ZoneA"""
    started = read_trigger(Entry("saga_requests", "1-0", {b"robot_count": b"2", b"area": b"ZoneA"}), catalog)
    assert isinstance(started, Started)
    assert started.saga == "mission-start"
    assert started.input == {"robot_count": 2, "area": "ZoneA"}
    assert started.key is None


@BOTH
@pytest.mark.parametrize("event_type", ["order", "order.placed"])
def test_an_event_starts_an_order_under_its_business_key(catalog: Catalog, event_type: str) -> None:
    data = b'{"order_id": "A-7", "customer": "Ada", "amount": 99.5, "items": [{"sku": "robot", "quantity": 2}]}'
    started = read_event(Entry("saga:events", "1-0", {b"type": event_type.encode(), b"data": data}), catalog)
    assert isinstance(started, Started)
    assert (started.saga, started.key, started.input) == ("order", "A-7", ORDER)


@BOTH
@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({b"robot_count": b"0", b"area": b"ZoneA"}, ["robot_count"]),
        ({b"robot_count": b"two", b"area": b""}, ["robot_count", "area"]),
        ({b"robots": b"2"}, ["robot_count", "area"]),
    ],
)
def test_a_wrong_entry_is_refused_with_the_name_of_each_field(
    catalog: Catalog, fields: dict[bytes, bytes], names: list[str]
) -> None:
    with pytest.raises(Malformed) as raised:
        read_trigger(Entry("saga_requests", "1-0", fields), catalog)
    assert str(raised.value).startswith("the fields do not fit the input of saga 'mission-start': ")
    for name in names:
        assert f"{name}: " in str(raised.value)


@BOTH
def test_an_order_without_its_key_is_refused_and_crashes_nothing(catalog: Catalog) -> None:
    with pytest.raises(Malformed, match="order_id"):
        read_event(Entry("saga:events", "1-0", {b"type": b"order", b"data": b"{}"}), catalog)


def read(catalog: Catalog, saga: str, data: dict[str, Any], *, flat: bool) -> object:
    spec = catalog.by_name(saga)
    assert spec is not None
    try:
        return spec.read_fields(data) if flat else spec.read_input(data)
    except InvalidInput:
        return "refused"


# JSON has no NaN. And past 2**53 a number with a point is whole to a JSON Schema and not to pydantic: 9.3e18 robots are
# refused by one alone, which is left at that.
floats = st.floats(-(2**53), 2**53)
scalars = st.none() | st.booleans() | st.integers() | floats | st.text() | st.integers().map(str)


def missing_or(values: st.SearchStrategy[Any], **properties: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={name: values | right for name, right in properties.items()})


@given(missing_or(scalars, robot_count=st.integers(1, 9), area=st.text(min_size=1), more=st.text()))
def test_both_forms_of_the_mission_take_and_refuse_the_same(data: dict[str, Any]) -> None:
    assert read(IN_PYTHON, "mission-start", data, flat=False) == read(IN_YAML, "mission-start", data, flat=False)


@given(
    missing_or(
        st.text(),
        robot_count=st.integers().map(str) | st.floats().map(str),
        area=st.text(min_size=1),
        more=st.text(),
    )
)
def test_both_forms_of_the_mission_take_and_refuse_the_same_flat_fields(data: dict[str, str]) -> None:
    assert read(IN_PYTHON, "mission-start", data, flat=True) == read(IN_YAML, "mission-start", data, flat=True)


items = st.lists(missing_or(st.none(), sku=st.text(), quantity=st.integers()), max_size=3)


@given(
    missing_or(
        scalars,
        order_id=st.text(min_size=1),
        customer=st.text(min_size=1),
        amount=st.floats(0.01, 1e6) | st.integers(1, 100),
        items=items,
    )
)
def test_both_forms_of_the_order_take_and_refuse_the_same(data: dict[str, Any]) -> None:
    assert read(IN_PYTHON, "order", data, flat=False) == read(IN_YAML, "order", data, flat=False)
