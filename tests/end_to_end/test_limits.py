"""What workers do at once and how often, in several processes, on real servers."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate

from tests.end_to_end.effects import Effect
from tests.end_to_end.system import System
from tests.end_to_end.workers import FEW_AT_ONCE_MAX, PACED_PER_SECOND

CONCURRENCY = 4
"""So that no process takes on more than a part of the sagas: eight times as many may wait in it for a limit."""
SAGAS = 80
NEVER_FASTER = 0.8
"""A handler sees its own beginning a little after the limit did."""


def _by_process(system: System, step: str) -> list[list[Effect]]:
    """What each process did of a step, in the order in which it began on it."""
    found: dict[int, list[Effect]] = defaultdict(list)
    for effect in sorted(system.effects(), key=lambda effect: effect.began_ns):
        if effect.step == step:
            found[effect.process].append(effect)
    return list(found.values())


def _at_once(effects: list[Effect]) -> int:
    """How many of these were under way at one moment, at most. What ends when another begins does so before it."""
    moments = [(effect.began_ns, 1) for effect in effects] + [(effect.at_ns, -1) for effect in effects]
    return max(accumulate(change for _, change in sorted(moments)))


async def test_no_process_does_more_of_a_type_at_once_than_its_limit(system: System) -> None:
    await system.start(workers=2, SAGA_WORKER_CONCURRENCY=str(CONCURRENCY))
    system.start_sagas("few", {f"few-{number}": {"few": ["sleep 50"]} for number in range(SAGAS)})
    await system.until_ended(SAGAS)
    processes = _by_process(system, "few")
    assert [_at_once(effects) for effects in processes] == [FEW_AT_ONCE_MAX] * 2
    assert sum(map(len, processes)) == SAGAS


async def test_no_process_does_more_of_a_type_in_a_time_than_its_rate(system: System) -> None:
    await system.start(workers=2, SAGA_WORKER_CONCURRENCY=str(CONCURRENCY))
    system.start_sagas("paced", {f"paced-{number}": {} for number in range(SAGAS)})
    await system.until_ended(SAGAS)
    processes = _by_process(system, "paced")
    assert sum(map(len, processes)) == SAGAS
    for effects in processes:
        took_s = (effects[-1].began_ns - effects[0].began_ns) / 1e9
        assert took_s >= (len(effects) - 1) / PACED_PER_SECOND * NEVER_FASTER


async def test_what_waits_for_its_types_limit_is_passed_by_by_other_types(system: System) -> None:
    await system.start(SAGA_WORKER_CONCURRENCY=str(CONCURRENCY))
    crowd = CONCURRENCY * 4
    system.start_sagas("few", {f"few-{number}": {"few": ["sleep 500"]} for number in range(crowd)})
    system.start_sagas("paced", {f"paced-{number}": {} for number in range(crowd)})
    await system.until_taken_in(2 * crowd)
    system.start_saga("decided", "passes-by")
    await system.until_ended(2 * crowd + 1)
    in_order = sorted(system.effects(), key=lambda effect: effect.at_ns)
    last_of = {effect.step: place for place, effect in enumerate(in_order)}
    assert last_of["tell"] < last_of["few"]


async def test_a_backlog_is_no_silence(system: System) -> None:
    """The saga's clock of silence starts at the first sign of life, and that is given when the work begins."""
    await system.start(SAGA_WORKER_CONCURRENCY="1")
    system.start_sagas("pulsing", {f"pulse-{number}": {"left": ["beat 1500"]} for number in range(10)})
    await system.until_ended(10)
    ends = await system.fetch("select status, count(*) from saga.sagas group by status")
    assert [tuple(row) for row in ends] == [("completed", 10)]
