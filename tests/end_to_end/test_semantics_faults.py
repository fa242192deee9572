"""Graphs, signals, pivots and child sagas while services are killed and Redis loses its data: every one has its end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from itertools import pairwise

import asyncpg

from tests.end_to_end.laws import nothing_is_left_over
from tests.end_to_end.plans import Plan
from tests.end_to_end.system import System
from tests.support.waiting import eventually

SAGAS_OF_EACH = 15
STEPS = {
    "graph": ("plan", "left", "right", "extra", "join"),
    "side-by-side": ("plan", "left", "right", "join"),
    "parent": ("plan", "left", "right", "join"),
    "grandparent": ("plan", "left", "right", "join", "extra"),
    "decided": ("plan", "decide"),
    "approved": ("plan", "left"),
}
"""Whose failure turns each saga round; those of `parent` and `grandparent` are their children's as well."""

Plans = dict[str, dict[str, Plan]]


def _plans(chance: random.Random) -> Plans:
    return {
        saga: {f"{saga}-{number}": _plan(chance, steps) for number in range(SAGAS_OF_EACH)}
        for saga, steps in STEPS.items()
    }


def _plan(chance: random.Random, steps: tuple[str, ...]) -> Plan:
    plan = {step: [*chance.choice([[], ["fail"]]), f"sleep {chance.randrange(150)}"] for step in steps}
    if chance.random() < 0.4:
        plan[chance.choice(steps)] = ["reject"]
    return plan


def _ends_as(plan: Plan) -> str:
    return "compensated" if ["reject"] in plan.values() else "completed"


async def test_every_saga_of_every_kind_ends_as_it_must_whatever_dies(system: System, random_seed: int) -> None:
    chance = random.Random(random_seed)
    plans = _plans(chance)
    services = (await system.start(services=2, workers=2))[:2]
    for saga, of_saga in plans.items():
        system.start_sagas(saga, of_saga)
    await eventually(lambda: _are_taken_in(system), 30.0, "all sagas are taken in")
    for number in range(2):
        # The pace of the disaster: there is no condition to wait for.
        await asyncio.sleep(0.7)
        services.pop(chance.randrange(len(services))).kill()
        services.append(system.begin_service())
        if number == 0:
            system.redis.flushdb()
    await _all_ends_as_it_must(system, plans)


async def test_every_saga_ends_as_it_must_when_everything_fails_in_turn(system: System, random_seed: int) -> None:
    """Workers die, a service is paused for longer than its claims last, Redis loses its data twice, Postgres ends every
    link, and requests come by SQL meanwhile."""
    chance = random.Random(random_seed)
    plans = _plans(chance)
    first, second, *workers = await system.start(services=2, workers=2)
    for saga, of_saga in plans.items():
        system.start_sagas(saga, of_saga)
    await eventually(lambda: _are_taken_in(system), 30.0, "all sagas are taken in")
    paused = [key for of_saga in plans.values() for key in of_saga][::4]
    await _ask(system, "pause", paused)
    os.kill(first.pid, signal.SIGSTOP)
    system.redis.flushdb()
    workers.pop(chance.randrange(len(workers))).kill()
    # The pace of the disaster, here and below: there is no condition to wait for.
    await asyncio.sleep(chance.uniform(1.2, 1.6))
    os.kill(first.pid, signal.SIGCONT)
    system.begin_worker()
    await _ask(system, "resume", paused)
    await _cut_every_link(system)
    await asyncio.sleep(chance.uniform(0.1, 0.5))
    second.kill()
    system.begin_service()
    system.redis.flushdb()
    await _cut_every_link(system)
    workers.pop().kill()
    system.begin_worker()
    await _ask(system, "resume", paused)
    await _all_ends_as_it_must(system, plans)
    assert await system.value("select count(*) from saga_private.requests where answered_at_ms is null") == 0


async def _ask(system: System, operation: str, keys: list[str]) -> None:
    await system.fetch("select saga.operate($1, id) from saga.sagas where key = any($2)", operation, keys)


async def _cut_every_link(system: System) -> None:
    await system.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )


async def _all_ends_as_it_must(system: System, plans: Plans) -> None:
    await _approve(system, plans["approved"])
    ends = {key: _ends_as(plan) for of_saga in plans.values() for key, plan in of_saga.items()}
    await eventually(lambda: _have_ended(system, ends), 60.0, "every saga ends as it must")
    await nothing_is_left_over(system)
    await _histories_are_whole(system)
    await _nothing_stands_that_was_undone(system)
    await _undo_went_in_reverse_order(system)
    await _every_parent_has_one_child(system)


async def _approve(system: System, plans: dict[str, Plan]) -> None:
    """Signals by SQL: those on a stream that is flushed before they are read are Redis' alone."""
    for key in plans:
        await system.value(
            "select saga.signal('trip.approved', key => $1, data => $2, id => 'the-one')", key, {"by": "Ann"}
        )


async def _are_taken_in(system: System) -> bool:
    """The sagas that were started here: child sagas begin meanwhile."""
    return bool(
        await system.value("select count(*) = $1 from saga.sagas where parent_id is null", len(STEPS) * SAGAS_OF_EACH)
    )


async def _have_ended(system: System, ends: dict[str, str]) -> bool:
    rows = await system.fetch("select key, status from saga.sagas where key is not null")
    found = {row["key"]: row["status"] for row in rows}
    wrong = {key: (found.get(key), end) for key, end in ends.items() if found.get(key) != end}
    assert wrong == {}, f"{len(wrong)} of {len(ends)} are not what they must be (found, expected): {wrong}"
    return True


async def _histories_are_whole(system: System) -> None:
    broken = await system.fetch(
        "select id from saga.sagas where revision <> (select count(*) from saga.history where saga_id = id)"
        " or revision <> (select max(revision) from saga.history where saga_id = id)"
    )
    assert broken == [], "one line for each revision"


async def _nothing_stands_that_was_undone(system: System) -> None:
    owed = await system.fetch(
        "select sagas.key, step, steps.status from saga.steps join saga.sagas on sagas.id = saga_id"
        " where sagas.status = 'compensated' and step not in ('decide', 'approval')"
        " and steps.status in ('succeeded', 'unknown')"
    )
    assert [tuple(row) for row in owed] == []


async def _undo_went_in_reverse_order(system: System) -> None:
    rows = await system.fetch(
        "select saga_id, step, effect_revision from saga.steps join saga.sagas on sagas.id = saga_id"
        " where sagas.saga <> 'side-by-side'"
    )
    finished = {(row["saga_id"], row["step"]): row["effect_revision"] for row in rows}
    histories: dict[object, list[asyncpg.Record]] = {}
    for line in await system.fetch("select * from saga.history order by saga_id, revision"):
        histories.setdefault(line["saga_id"], []).append(line)
    for saga_id, history in histories.items():
        sent = [
            (command.split(":")[0], line["revision"])
            for line in history
            for command in line["sent"]
            if command.endswith(":compensation:1")
        ]
        for (step, revision), (then, _) in pairwise(sent):
            if (saga_id, then) not in finished:
                continue
            known = finished[saga_id, then] is not None and finished[saga_id, then] < revision
            assert not known or finished[saga_id, then] < finished[saga_id, step], f"{saga_id}: {sent}"


async def _every_parent_has_one_child(system: System) -> None:
    children = await system.fetch(
        "select parent_id, count(*), min(status) from saga.sagas where parent_id is not null group by 1"
    )
    assert all(row["count"] == 1 for row in children)
    assert len(children) > 0
