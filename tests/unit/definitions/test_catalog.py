"""The catalog: what can be started, and by what."""

from __future__ import annotations

import pytest

from saga_service.definitions import Catalog, Saga, Step, Trigger, check_saga
from saga_service.wire import saga_spec as wire
from saga_service.wire.entries import Entry, Malformed
from saga_service.wire.events import read_event, read_trigger


def saga_text(name: str, more: str = "") -> str:
    return f"name: {name}\nsteps: [{{name: a, action: {name}.do}}]\n{more}"


def names_of(catalog: Catalog) -> list[str]:
    return [definition.name for definition in catalog.definitions()]


ORDER = Saga(
    "order",
    input={"properties": {"order_id": {"type": "string"}}},
    key="order_id",
    triggers=[Trigger(event_type="order.placed"), Trigger(stream="orders", group="g"), Trigger(stream="old-orders")],
    steps=[
        Step("reserve", action="inventory.reserve", compensation="warehouse.release"),
        Step("notify", action="mail.send"),
    ],
)


def test_a_catalog_is_what_the_wire_asks_for() -> None:
    catalog: wire.Catalog = Catalog([])
    assert catalog.event_types() == []


def test_a_saga_is_found_by_its_name_its_event_types_and_its_streams() -> None:
    catalog = Catalog([check_saga(ORDER)])
    order = catalog.by_name("order")
    assert order is not None
    assert catalog.event_types() == ["order", "order.placed"]
    assert catalog.by_event_type("order") is catalog.by_event_type("order.placed") is order
    assert catalog.by_stream("orders") is catalog.by_stream("old-orders") is order
    assert catalog.by_name("order.placed") is catalog.by_event_type("orders") is catalog.by_stream("order") is None


def test_a_catalog_says_what_there_is_to_read_to_send_and_to_store() -> None:
    catalog = Catalog([check_saga(ORDER)])
    [definition] = catalog.definitions()
    assert catalog.trigger_streams() == [("orders", "g"), ("old-orders", None)]
    assert catalog.services() == ["inventory", "mail", "warehouse"]
    assert [(each["saga"], each["version"]) for each in catalog.documents()] == [("order", definition.version)]
    assert catalog.definition("order", definition.version) is definition
    assert catalog.definition("order", "another") is catalog.definition("other", definition.version) is None


def test_services_are_those_of_commands_probes_among_them() -> None:
    saga = Saga(
        "trip",
        steps=[
            Step(
                "pay", action="payment.charge", on_unknown="probe", probe="ledger.find", compensation="payment.refund"
            ),
            Step("cool-off", sleep="1h"),
            Step("approval", signal="trip.approved"),
            Step("tour", saga="tour"),
        ],
    )
    assert Catalog([check_saga(saga)]).services() == ["ledger", "payment"]


def test_a_catalog_knows_who_waits_for_a_signal() -> None:
    def waiting(name: str, *signals: str) -> Saga:
        return Saga(name, steps=[Step(f"s{place}", signal=signal) for place, signal in enumerate(signals)])

    catalog = Catalog([check_saga(waiting("one", "go", "stop", "go")), check_saga(waiting("two", "go"))])
    assert catalog.signals() == {"go": ["one", "two"], "stop": ["one"]}
    assert list(catalog.waiting_for("go")) == ["one", "two"]
    assert list(catalog.waiting_for("halt")) == []


def test_an_entry_without_the_business_key_is_refused() -> None:
    catalog = Catalog([check_saga(ORDER)])
    told = "saga 'order': order_id: is missing or empty, and it is the saga's key"
    with pytest.raises(Malformed, match=told):
        read_event(Entry("saga:events", "1-0", {b"type": b"order", b"data": b"{}"}), catalog)
    with pytest.raises(Malformed, match=told):
        read_trigger(Entry("orders", "1-0", {b"amount": b"5"}), catalog)


@pytest.mark.parametrize("name", ["Saga", "Step", "Retry", "Trigger", "Worker", "Retryable", "Rejected", "StepContext"])
def test_what_an_author_needs_is_imported_from_the_package_itself(name: str) -> None:
    import saga_service

    assert name in saga_service.__all__
    assert getattr(saga_service, name).__name__ == name


def test_what_the_package_does_not_have_is_an_attribute_error() -> None:
    import saga_service

    with pytest.raises(AttributeError, match="module 'saga_service' has no attribute 'Sagas'"):
        _ = saga_service.Sagas  # type: ignore[attr-defined] # that it is not there is the point
