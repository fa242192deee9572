"""Trips that go well or badly by chance, and how each of them has to end."""

from __future__ import annotations

import random

Plan = dict[str, list[str]]

STEPS = ("flight", "hotel", "car", "invoice")
UNDOABLE = ("flight", "hotel", "car")
ATTEMPTS = 3
"""Of a step and of its undo, as `sagas.trip` has it."""


def random_plans(chance: random.Random, count: int, name: str = "chance") -> dict[str, Plan]:
    return {f"{name}-{number}": _plan(chance) for number in range(count)}


def _plan(chance: random.Random) -> Plan:
    plan = {step: _words(chance, spoilt=0.12) for step in STEPS}
    plan |= {f"undo {step}": _words(chance, spoilt=0.05) for step in UNDOABLE}
    return {name: words for name, words in plan.items() if words}


def _words(chance: random.Random, spoilt: float) -> list[str]:
    """What the attempts of one step do: mostly nothing special, now and then too many failures or a rejection."""
    if chance.random() < spoilt:
        return chance.choice([["reject"], ["fail", "reject"], ["fail"] * ATTEMPTS])
    failures = ["fail"] * chance.choice([0, 0, 0, 1, ATTEMPTS - 1])
    return [*failures, f"sleep {chance.randrange(100)}"]


def ends_as(plan: Plan) -> str:
    """The status that a saga with this plan comes to, if nothing times out."""
    for position, step in enumerate(STEPS):
        if not _succeeds(plan, step):
            before = [done for done in STEPS[:position] if done in UNDOABLE]
            return "compensated" if all(_succeeds(plan, f"undo {done}") for done in before) else "stuck"
    return "completed"


def _succeeds(plan: Plan, name: str) -> bool:
    for word in plan.get(name, [])[:ATTEMPTS]:
        if word == "reject":
            return False
        if word != "fail":
            return True
    return len(plan.get(name, [])) < ATTEMPTS
