"""Workers that do as the saga's input tells them, and write down each execution.

The input's `plan` has a list of words for a step (`flight`) or its undo (`undo flight`): the first one is for the first
attempt, and so on. What is not planned succeeds at once.

    succeed         at once
    sleep 300       succeed after so many milliseconds
    fail            ask for another attempt
    fail 300        ask for another attempt after so many milliseconds
    fail until T    ask for another attempt at this moment (milliseconds since 1970)
    reject          never again
    overrun 300     succeed so many milliseconds after the deadline
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from saga_service.worker import Rejected, Retryable, StepContext, Worker
from tests.end_to_end.effects import Effect, write_effect

travel = Worker("travel")
rental = Worker("rental")
fleet = Worker("fleet")
planning = Worker("planning")
mapping = Worker("mapping")

WORKERS = {
    travel: ("flight", "undo_flight", "hotel", "undo_hotel"),
    rental: ("car", "undo_car", "invoice"),
    # Those of the demo's `mission-start`.
    fleet: ("allocate_resources", "release_resources", "perform_exploration", "abort_exploration"),
    planning: ("plan_route",),
    mapping: ("integrate_maps", "rollback_integration"),
}


async def carry_out(command: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Any: the input is the test's own."""
    verb, *rest = _planned(command, context).split()
    if verb == "sleep":
        await asyncio.sleep(int(rest[0]) / 1000)
    elif verb == "overrun":
        await asyncio.sleep(context.remaining_seconds + int(rest[0]) / 1000)
    outcome = {"fail": "failed", "reject": "rejected"}.get(verb, "succeeded")
    write_effect(_effect(context, outcome))
    if outcome == "failed":
        raise Retryable("as planned", code="planned", delay=_delay_s(rest))
    if outcome == "rejected":
        raise Rejected("planned", "as planned")
    return {"attempt": context.attempt, "verb": verb}


def _planned(command: dict[str, Any], context: StepContext) -> str:
    name = context.step if context.direction == "action" else f"undo {context.step}"
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


def _effect(context: StepContext, outcome: str) -> Effect:
    return Effect(
        at_ns=time.time_ns(),
        saga_id=context.saga_id,
        step=context.step,
        direction=context.direction.value,
        attempt=context.attempt,
        idempotency_key=context.idempotency_key,
        outcome=outcome,
    )


def _register() -> None:
    for worker, verbs in WORKERS.items():
        for verb in verbs:
            worker.handler(f"{worker.service}.{verb}")(carry_out)


_register()
