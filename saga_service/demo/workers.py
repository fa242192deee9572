"""The demo's workers: robots that explore an area together, and a shop that sells, charges and ships.

The work is make-believe and takes `SAGA_DEMO_STEP_MS` (50 ms without it; 0: no time at all). Exploring the area
'Canyon' takes `SAGA_DEMO_CANYON_MS` more (5 s without it), so that a process can be killed meanwhile. What is mapped in
'Crater' never fits; nobody has 'sold-out' in stock, and no card pays more than 10,000.

    saga-service worker saga_service.demo.workers:fleet saga_service.demo.workers:planning ...
"""

from __future__ import annotations

import asyncio
import os

from pydantic import BaseModel, Field

from saga_service.worker import Rejected, StepContext, Worker

CARD_LIMIT = 10_000
FLEET_ROBOTS = 100
AREA_UNMAPPABLE = "Crater"
AREA_SLOW = "Canyon"
SIGN_OF_LIFE_S = 0.25

fleet = Worker("fleet")
planning = Worker("planning")
mapping = Worker("mapping")
inventory = Worker("inventory")
payment = Worker("payment")
shipping = Worker("shipping")


def _seconds(variable: str, default_ms: int) -> float:
    given = os.environ.get(variable) or str(default_ms)
    if not (given.isascii() and given.isdigit()):
        raise ValueError(f"{variable} must be whole milliseconds, but is '{given}'")
    return int(given) / 1000


_STEP_S = _seconds("SAGA_DEMO_STEP_MS", 50)
_CANYON_S = _seconds("SAGA_DEMO_CANYON_MS", 5_000)


async def _work() -> None:
    if _STEP_S:
        await asyncio.sleep(_STEP_S)


def _reference(kind: str, context: StepContext) -> str:
    """A name that is the same at every attempt, so that work which is repeated is found done."""
    return f"{kind}-{context.saga_id[:8]}"


# ------------------------------------------------------------------------------------------------- robots explore


class Mission(BaseModel):
    robot_count: int = Field(ge=1)
    area: str


class Allocation(BaseModel):
    robots: list[str]


class Outputs(BaseModel):
    """The outputs of earlier steps of a mission. Those of the step itself are missing where its undo comes first."""

    allocate_resources: Allocation | None = None


class StaffedMission(Mission):
    outputs: Outputs

    @property
    def robots(self) -> list[str]:
        return self.outputs.allocate_resources.robots if self.outputs.allocate_resources else []


class Route(BaseModel):
    waypoints: list[str]


class Exploration(BaseModel):
    partial_maps: dict[str, str]


class IntegratedMap(BaseModel):
    map_id: str
    parts: int


@fleet.handler("fleet.allocate_resources")
async def allocate_resources(mission: Mission, context: StepContext) -> Allocation:
    if mission.robot_count > FLEET_ROBOTS:
        raise Rejected("fleet_too_small", f"{mission.robot_count} robots are wanted, and the fleet has {FLEET_ROBOTS}")
    await _work()
    name = _reference("robot", context)
    robots = [f"{name}-{number}" for number in range(1, mission.robot_count + 1)]
    context.logger.info("robots allocated", robots=len(robots), area=mission.area)
    return Allocation(robots=robots)


@fleet.handler("fleet.release_resources")
async def release_resources(mission: StaffedMission, context: StepContext) -> None:
    await _work()
    context.logger.info("robots released", robots=mission.robots)


@planning.handler("planning.plan_route")
async def plan_route(mission: Mission, context: StepContext) -> Route:
    await _work()
    context.logger.info("route planned", area=mission.area)
    return Route(waypoints=["base", f"{mission.area}/north", f"{mission.area}/south", "base"])


@fleet.handler("fleet.perform_exploration")
async def perform_exploration(mission: StaffedMission, context: StepContext) -> Exploration:
    await _work()
    if _is_in(mission.area, AREA_SLOW):
        await _slow_going(context)
    context.logger.info("area explored", area=mission.area)
    return Exploration(partial_maps={robot: f"{mission.area}/{robot}" for robot in mission.robots})


@fleet.handler("fleet.abort_exploration")
async def abort_exploration(mission: StaffedMission, context: StepContext) -> None:
    await _work()
    context.logger.info("robots called back, partial maps thrown away", robots=mission.robots, area=mission.area)


@mapping.handler("mapping.integrate_maps")
async def integrate_maps(mission: StaffedMission, context: StepContext) -> IntegratedMap:
    await _work()
    if _is_in(mission.area, AREA_UNMAPPABLE):
        raise Rejected("maps_do_not_align", f"the robots' maps of {mission.area} do not fit together")
    map_id = _reference("map", context)
    context.logger.info("maps integrated", map_id=map_id, parts=len(mission.robots))
    return IntegratedMap(map_id=map_id, parts=len(mission.robots))


@mapping.handler("mapping.rollback_integration")
async def rollback_integration(mission: Mission, context: StepContext) -> None:
    await _work()
    context.logger.info("integrated map thrown away", map_id=_reference("map", context), area=mission.area)


async def _slow_going(context: StepContext) -> None:
    left_s = _CANYON_S
    while left_s > 0:
        await context.progress()
        await asyncio.sleep(min(left_s, SIGN_OF_LIFE_S))
        left_s -= SIGN_OF_LIFE_S


def _is_in(area: str, region: str) -> bool:
    """'Crater' and 'Crater-7' are in the Crater."""
    return area.partition("-")[0] == region


# --------------------------------------------------------------------------------------------------- a shop sells


class OrderItem(BaseModel):
    sku: str
    quantity: int = Field(ge=1)


class Basket(BaseModel):
    items: list[OrderItem]


class Reservation(BaseModel):
    reservation_id: str


class Bill(BaseModel):
    customer: str
    amount: float = Field(gt=0)


class Payment(BaseModel):
    payment_id: str


class Delivery(BaseModel):
    customer: str


class Shipment(BaseModel):
    tracking_number: str


@inventory.handler("inventory.reserve")
async def reserve(basket: Basket, context: StepContext) -> Reservation:
    for item in basket.items:
        if item.sku == "sold-out":
            raise Rejected("out_of_stock", f"{item.quantity} of '{item.sku}' are wanted, and there are none")
    await _work()
    return Reservation(reservation_id=_reference("reservation", context))


@inventory.handler("inventory.release")
async def release(basket: Basket, context: StepContext) -> None:
    await _work()
    context.logger.info("reservation released", reservation_id=_reference("reservation", context))


@payment.handler("payment.charge")
async def charge(bill: Bill, context: StepContext) -> Payment:
    if bill.amount > CARD_LIMIT:
        raise Rejected("card_declined", f"the card of '{bill.customer}' does not pay {bill.amount:.2f}")
    await _work()
    return Payment(payment_id=_reference("payment", context))


@payment.handler("payment.refund")
async def refund(bill: Bill, context: StepContext) -> None:
    await _work()
    context.logger.info("payment refunded", payment_id=_reference("payment", context), amount=bill.amount)


@shipping.handler("shipping.ship")
async def ship(delivery: Delivery, context: StepContext) -> Shipment:
    await _work()
    return Shipment(tracking_number=_reference("parcel", context))


@shipping.handler("shipping.cancel")
async def cancel(delivery: Delivery, context: StepContext) -> None:
    await _work()
    context.logger.info("shipment cancelled", tracking_number=_reference("parcel", context))
