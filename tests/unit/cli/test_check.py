"""`check` tells before the first saga what would keep definitions and workers from working together."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga_service.cli.console.local import DEMO_DEFINITIONS, DEMO_WORKERS
from saga_service.cli.console.output import counted
from tests.support.command_line import run

SHOP = """
from typing import Any
from pydantic import BaseModel
from saga_service import Saga, Step, Worker

class Order(BaseModel):
    order_id: str
    {field}

order = Saga("order", input=Order, steps=[
    Step("reserve", action="shop.reserve", compensation="shop.release"),
    Step("charge", action="{charge}"),
])
shop = Worker("shop")

@shop.handler("shop.reserve")
async def reserve(order: Order) -> None: ...

@shop.handler("shop.release")
async def release(order: dict[str, Any]) -> None: ...

@shop.handler("shop.charge")
async def charge(order: dict[str, Any]) -> None: ...
"""


@pytest.fixture
def shop(directory: Path, module: str) -> Path:
    path = directory / f"{module}.py"
    path.write_text(SHOP.format(field="amount: int", charge="shop.charge"))
    return path


def test_what_fits_is_one_line(shop: Path, module: str) -> None:
    ran = run("check", "-d", module, "-w", f"{module}:shop")
    assert (ran.exit_code, ran.out) == (0, "right: 1 saga and 1 worker fit together\n")


def test_what_does_not_fit_is_a_line_each_and_the_exit_code_says_so(shop: Path, module: str) -> None:
    shop.write_text(SHOP.format(field="amount: int", charge="shop.chrage"))

    ran = run("check", "-d", module, "-w", f"{module}:shop")

    assert ran.exit_code == 1
    problem, hint = ran.lines
    assert problem.startswith("problem: ")
    assert ": order: step 'charge': its action 'shop.chrage' has no handler in the worker of 'shop'" in problem
    assert "did you mean 'shop.charge'?" in problem
    assert hint.startswith("hint: the worker of 'shop' has handlers that no definition here calls: shop.charge")


def test_a_hint_alone_is_no_failure(shop: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.with_name("order.yaml").write_text("name: order\nsteps: [{name: reserve, action: shop.reserve}]\n")
    monkeypatch.setenv("SAGA_WORKERS", f"{module}:shop")

    ran = run("check", "-d", "order.yaml")

    assert ran.exit_code == 0
    hints, end = ran.lines[:-1], ran.lines[-1]
    assert end == f"1 saga and 1 worker have no problem that is certain; {counted(len(hints), 'hint')} above"
    assert hints
    assert all(line.startswith("hint: ") for line in hints)


def test_a_service_without_a_worker_is_told_with_the_options_that_name_it(shop: Path, module: str) -> None:
    shop.write_text(SHOP.format(field="amount: int", charge="payment.charge"))
    problem = run("check", "-d", module, "-w", f"{module}:shop").lines[0]
    assert problem.endswith(
        "(payment.charge); name it with --worker, or, where its workers are not to be looked at: --elsewhere payment"
    )


def test_programs_get_all_of_it_as_json(shop: Path, module: str) -> None:
    shop.write_text(SHOP.format(field="amount: int", charge="payment.charge"))

    ran = run("check", "-d", module, "-w", f"{module}:shop", "--json")

    assert ran.exit_code == 1
    assert ran.json["sagas"] == ["order"]
    assert [worker["service"] for worker in ran.json["workers"]] == ["shop"]
    [problem] = ran.json["problems"]
    assert "no worker for the service 'payment'" in problem["text"]
    elsewhere = run("check", "-d", module, "-w", f"{module}:shop", "--elsewhere", "payment", "--json")
    assert (elsewhere.exit_code, elsewhere.json["problems"]) == (0, [])


def test_definitions_that_are_wrong_by_themselves_are_told_as_such(shop: Path, module: str) -> None:
    shop.with_name("order.yaml").write_text("name: order\nsteps: [{name: reserve, action: reserve}]\n")
    ran = run("check", "-d", "order.yaml", "-w", f"{module}:shop")
    assert ran.exit_code == 1
    assert "1 problem in the saga definitions" in ran.err


def test_a_file_in_the_place_of_its_module_is_told_what_to_write(shop: Path, module: str) -> None:
    ran = run("check", "-d", f"{module}.py", "-w", f"{module}:shop")
    assert f"write the name of its module instead, '{module}'" in ran.err


def test_the_demos_sagas_and_workers_fit_together(directory: Path) -> None:
    ran = run("check", "-d", DEMO_DEFINITIONS, *(part for worker in DEMO_WORKERS for part in ("-w", worker)))
    assert (ran.exit_code, ran.out) == (0, "right: 2 sagas and 6 workers fit together\n")
