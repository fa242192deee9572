"""The demo sagas in Python. `mission-start.yaml` and `order.yaml` define them in YAML, with the same versions.

`mission-start`: robots explore an area together. `order`: reserve the stock, charge the customer, ship.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from saga_service.definitions import Retry, Saga, Step, Trigger


class _Input(BaseModel):
    # A producer may send more than a saga asks for; it is kept, as by the JSON Schemas of the YAML form.
    model_config = ConfigDict(extra="allow")


class Mission(_Input):
    """`XADD saga_requests * robot_count 2 area ZoneA`."""

    robot_count: Annotated[int, Field(ge=1, description="How many robots set out.")]
    area: Annotated[str, Field(min_length=1, description="What they explore. Nothing that is mapped in 'Crater' fits.")]


class OrderItem(_Input):
    sku: Annotated[str, Field(min_length=1)]
    quantity: Annotated[int, Field(ge=1)]


class Order(_Input):
    order_id: Annotated[str, Field(min_length=1, description="One order, one saga, however often it is placed.")]
    customer: Annotated[str, Field(min_length=1)]
    amount: Annotated[float, Field(gt=0, description="The price of all items together.")]
    items: Annotated[list[OrderItem], Field(min_length=1)]


mission_start = Saga(
    "mission-start",
    input=Mission,
    triggers=[Trigger(stream="saga_requests", group="orchestrator_group")],
    steps=[
        Step("allocate_resources", action="fleet.allocate_resources", compensation="fleet.release_resources"),
        Step("plan_route", action="planning.plan_route"),
        Step(
            "perform_exploration",
            action="fleet.perform_exploration",
            compensation="fleet.abort_exploration",
            timeout="5m",
        ),
        Step(
            "integrate_maps",
            action="mapping.integrate_maps",
            compensation="mapping.rollback_integration",
            retry=Retry(attempts=3, first_delay="500ms", never=["maps_do_not_align"]),
        ),
    ],
)

order = Saga(
    "order",
    input=Order,
    key="order_id",
    triggers=[Trigger(event_type="order.placed")],
    steps=[
        Step(
            "reserve",
            action="inventory.reserve",
            compensation="inventory.release",
            retry=Retry(attempts=3, never=["out_of_stock"]),
            timeout="30s",
        ),
        Step(
            "charge",
            action="payment.charge",
            compensation="payment.refund",
            retry=Retry(attempts=5, first_delay="1s", factor=3, max_delay="1m", never=["card_declined"]),
            timeout="1m",
            compensation_retry=Retry(attempts=20),
        ),
        Step("ship", action="shipping.ship", compensation="shipping.cancel", timeout="2m"),
    ],
)
