"""Workers that do as the saga's input tells them, and write down each execution.

The input's `plan` has a list of words for a step (`flight`) or its undo (`undo flight`): the first one is for the first
attempt, and so on. What is not planned succeeds at once.

    succeed         at once
    sleep 300       succeed after so many milliseconds
    fail            ask for another attempt
    fail 300        ask for another attempt after so many milliseconds
    fail until T    ask for another attempt at this moment (milliseconds since 1970)
    reject          never again
    reject first X  never again, for the first attempt of any saga that says X; succeed from then on
    overrun 300     succeed so many milliseconds after the deadline
    beat 300        succeed after so many milliseconds, with a sign of life every 100
    hang            never return
    hang on         never return, and pay no heed to being cancelled
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from saga_service.worker import Rejected, Retryable, StepContext, Worker
from tests.end_to_end.effects import Effect, is_first, write_effect

travel = Worker("travel")
rental = Worker("rental")
fleet = Worker("fleet")
planning = Worker("planning")
mapping = Worker("mapping")
lab = Worker("lab")

LAB_STEPS = ("plan", "left", "right", "extra", "join", "decide", "tell", "charge")
FEW_AT_ONCE_MAX, PACED_PER_SECOND = 2, 20

WORKERS = {
    travel: ("flight", "undo_flight", "hotel", "undo_hotel"),
    rental: ("car", "undo_car", "invoice"),
    # Those of the demo's `mission-start`.
    fleet: ("allocate_resources", "release_resources", "perform_exploration", "abort_exploration"),
    planning: ("plan_route",),
    mapping: ("integrate_maps", "rollback_integration"),
    # Those of `semantics`.
    lab: (*LAB_STEPS, *(f"undo_{step}" for step in LAB_STEPS), "find_charge"),
}


async def carry_out(command: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Any: the input is the test's own."""
    began_ns = time.time_ns()
    operation, *rest = _planned(command, context).split()
    if operation == "reject" and rest and not is_first(rest[-1]):
        operation = "succeed"
    if operation == "sleep":
        await asyncio.sleep(int(rest[0]) / 1000)
    elif operation == "beat":
        await _beat(int(rest[0]) / 1000, context)
    elif operation == "overrun":
        await asyncio.sleep(context.remaining_seconds + int(rest[0]) / 1000)
    elif operation == "hang":
        await _hang(heeding="on" not in rest)
    outcome = {"fail": "failed", "reject": "rejected"}.get(operation, "succeeded")
    write_effect(_effect(context, began_ns, outcome))
    if outcome == "failed":
        raise Retryable("planned", "as planned", delay=_delay_s(rest))
    if outcome == "rejected":
        raise Rejected("planned", "as planned")
    return {"attempt": context.attempt, "verb": operation}


async def carry_out_and_tell(command: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Carry the command out, and return what it brought as well."""
    received = {name: value for name, value in command.items() if name not in ("plan", "outputs")}
    return {**await carry_out(command, context), "received": received, "outputs": sorted(context.outputs)}


async def _hang(*, heeding: bool) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if heeding:
                raise


async def _beat(duration_s: float, context: StepContext) -> None:
    ends_at_s = time.monotonic() + duration_s
    while time.monotonic() < ends_at_s:
        await context.progress()
        await asyncio.sleep(0.1)


_NAMES = {"action": "{step}", "compensation": "undo {step}", "probe": "find {step}"}


def _planned(command: dict[str, Any], context: StepContext) -> str:
    name = _NAMES[context.direction].format(step=context.step)
    words: list[str] = command.get("plan", {}).get(name, [])
    return words[context.attempt - 1] if context.attempt <= len(words) else "succeed"


def _delay_s(rest: list[str]) -> float | None:
    match rest:
        case ["until", moment_ms]:
            return max(0.0, int(moment_ms) / 1000 - time.time())
        case [delay_ms]:
            return int(delay_ms) / 1000
        case _:
            return None


def _effect(context: StepContext, began_ns: int, outcome: str) -> Effect:
    return Effect(
        at_ns=time.time_ns(),
        began_ns=began_ns,
        process=os.getpid(),
        saga_id=context.saga_id,
        step=context.step,
        direction=context.direction.value,
        attempt=context.attempt,
        idempotency_key=context.idempotency_key,
        outcome=outcome,
    )


def _register() -> None:
    for worker, operations in WORKERS.items():
        for operation in operations:
            worker.handler(f"{worker.service}.{operation}")(carry_out_and_tell if worker is lab else carry_out)
    lab.handler("lab.few", concurrency=FEW_AT_ONCE_MAX)(carry_out)
    lab.handler("lab.paced", rate=f"{PACED_PER_SECOND}/s")(carry_out)


_register()
