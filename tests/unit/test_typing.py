"""Whoever installs the package has its types: right uses pass a strict check, and wrong words are found by it."""

from __future__ import annotations

from pathlib import Path

from mypy import api

from tests.support.paths import ROOT

RIGHT = """
from datetime import timedelta
from pydantic import BaseModel
from saga_service.definitions import Retry, Saga, Step
from saga_service.worker import Rejected, Retryable, StepContext, Unknown, Worker


class Order(BaseModel):
    amount: int


charge_step = Step(
    "charge", action="payment.charge", kind="pivot", on_unknown="hold", on_error="unknown", retry=Retry(never=["busy"])
)
order = Saga("order", steps=[charge_step], input=Order, undo="parallel")
worker = Worker("payment")


@worker.handler("payment.charge", heartbeat=5.0)
async def charge(order: Order, context: StepContext) -> dict[str, int]:
    if order.amount > 5:
        raise Rejected("no_funds")
    if order.amount > 4:
        raise Retryable("busy", delay=timedelta(seconds=5))
    if order.amount > 3:
        raise Unknown("no_answer", "the bank did not say")
    return {"paid": order.amount}


async def called_directly(context: StepContext) -> int:
    return (await charge(Order(amount=1), context))["paid"]
"""

WRONG = """
from saga_service.definitions import Saga, Step
from saga_service.worker import Rejected, Worker

Step("charge", action="payment.charge", kind="pivott")
Step("charge", action="payment.charge", on_unknown="wait")
Step("charge", action="payment.charge", on_error="retry")
Saga("order", steps=[], undo="backwards")
Rejected("no_funds", "none", 3)
Worker("payment").handler(7)
"""


def test_a_strict_check_passes_right_words_and_finds_each_wrong_one(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(RIGHT)
    wrong.write_text(WRONG)
    cache = f"--cache-dir={ROOT / '.mypy_cache' / 'of_authors'}"
    options = ["--strict", "--no-error-summary", "--follow-imports=silent", cache]
    said, broken, _ = api.run([*options, str(right), str(wrong)])
    assert broken == ""
    places = [line.split(":")[:2] for line in said.splitlines() if ": error:" in line]
    # The cache remembers the folder of the run before.
    found = {(Path(file).name, int(line)) for file, line in places}
    assert found == {("wrong.py", line) for line in range(5, 11)}
