"""The demo's workers have a handler for every command of the demo's sagas, and do what the demo tells of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from saga_service.core.vocabulary import Direction, Outcome
from saga_service.definitions import load_definitions
from saga_service.demo import workers as demo
from saga_service.wire.commands import read_command
from saga_service.worker import StepContext, Worker
from saga_service.worker.execution import execute
from tests.support.workers import command_entry, understood

WORKERS = {
    worker.service: worker
    for worker in (demo.fleet, demo.planning, demo.mapping, demo.inventory, demo.payment, demo.shipping)
}
MISSION = {"robot_count": 2, "area": "ZoneA"}
ORDER = {"order_id": "o-1", "customer": "ada", "amount": 30, "items": [{"sku": "lamp", "quantity": 1}]}


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_STEP_S", 0)
    monkeypatch.setattr(demo, "_CANYON_S", 0)


async def carry_out(command_type: str, data: dict[str, Any], **more: Any) -> Any:
    entry = command_entry(command_type=command_type, data=data, **more)
    received = read_command(entry)
    handler = WORKERS[command_type.partition(".")[0]].handlers[command_type]
    context = StepContext(received, lambda _: None)
    reply = await execute(handler, received, context, 10_000)
    assert reply is not None
    return understood(reply)


def test_every_command_of_the_demos_sagas_has_its_handler() -> None:
    catalog = load_definitions(["saga_service.demo.sagas"])
    wanted = {
        command
        for definition in catalog.definitions()
        for step in definition.steps
        for command in (step.action, step.compensation)
        if command is not None
    }
    known = {command for worker in WORKERS.values() for command in worker.handlers}
    assert wanted
    assert wanted == known


async def test_robots_explore_and_their_maps_become_one() -> None:
    outputs: dict[str, Any] = {}
    for step, command_type in [
        ("allocate_resources", "fleet.allocate_resources"),
        ("plan_route", "planning.plan_route"),
        ("perform_exploration", "fleet.perform_exploration"),
        ("integrate_maps", "mapping.integrate_maps"),
    ]:
        replied = await carry_out(command_type, MISSION, outputs=outputs)
        assert replied.outcome is Outcome.SUCCEEDED, replied
        outputs[step] = replied.output
    assert len(outputs["allocate_resources"]["robots"]) == 2
    assert set(outputs["perform_exploration"]["partial_maps"]) == set(outputs["allocate_resources"]["robots"])
    assert outputs["integrate_maps"]["parts"] == 2


@pytest.mark.parametrize("area", ["Crater", "Crater-7"])
async def test_maps_of_the_crater_never_align(area: str) -> None:
    replied = await carry_out("mapping.integrate_maps", {**MISSION, "area": area})
    assert (replied.outcome, replied.fault.code) == (Outcome.REJECTED, "maps_do_not_align")


async def test_an_order_is_reserved_charged_and_shipped_and_each_can_be_undone() -> None:
    for command_type in ("inventory.reserve", "payment.charge", "shipping.ship"):
        assert (await carry_out(command_type, ORDER)).outcome is Outcome.SUCCEEDED
    for command_type in ("shipping.cancel", "payment.refund", "inventory.release"):
        undone = await carry_out(command_type, ORDER, direction=Direction.COMPENSATION)
        assert undone.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("command_type", "data", "code"),
    [
        ("fleet.allocate_resources", {**MISSION, "robot_count": 101}, "fleet_too_small"),
        ("inventory.reserve", {**ORDER, "items": [{"sku": "sold-out", "quantity": 1}]}, "out_of_stock"),
        ("payment.charge", {**ORDER, "amount": 10_001}, "card_declined"),
    ],
)
async def test_what_can_never_work_is_rejected(command_type: str, data: dict[str, Any], code: str) -> None:
    replied = await carry_out(command_type, data)
    assert (replied.outcome, replied.fault.code) == (Outcome.REJECTED, code)


async def test_an_undo_that_comes_before_its_action_is_no_error() -> None:
    for command_type in ("fleet.release_resources", "fleet.abort_exploration", "mapping.rollback_integration"):
        undone = await carry_out(command_type, MISSION, direction=Direction.COMPENSATION)
        assert undone.outcome is Outcome.SUCCEEDED


async def test_a_repeat_gives_the_same_result() -> None:
    first, second = await carry_out("payment.charge", ORDER), await carry_out("payment.charge", ORDER, attempt=2)
    assert first.output == second.output


async def test_exploring_the_canyon_takes_longer_and_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    slept_s: list[float] = []
    told: list[object] = []

    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)

    monkeypatch.setattr(demo, "_CANYON_S", 1.1)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    entry = command_entry(command_type="fleet.perform_exploration", data={**MISSION, "area": "Canyon"})
    received = read_command(entry)
    handler = demo.fleet.handlers["fleet.perform_exploration"]
    await execute(handler, received, StepContext(received, told.append), 10_000)
    assert sum(slept_s) == pytest.approx(1.1)
    assert len(told) == len(slept_s) == 5


@pytest.mark.parametrize(("step_ms", "sleeps"), [("0", False), ("30", True)])
def test_the_work_takes_as_long_as_the_environment_says(step_ms: str, sleeps: bool) -> None:
    assert (demo_variable("_STEP_S", SAGA_DEMO_STEP_MS=step_ms) == "0.03\n") is sleeps


def test_a_duration_that_is_none_is_told_by_its_variable() -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        demo_variable("_STEP_S", SAGA_DEMO_STEP_MS="soon")
    assert "SAGA_DEMO_STEP_MS must be whole milliseconds, but is 'soon'" in raised.value.stderr


def demo_variable(name: str, **environment: str) -> str:
    source = f"from saga_service.demo import workers; print(workers.{name})"
    done = subprocess.run(
        [sys.executable, "-c", source], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_all_workers_of_the_demo_can_run_in_one_process() -> None:
    assert all(isinstance(worker, Worker) for worker in WORKERS.values())
    assert len(WORKERS) == 6
