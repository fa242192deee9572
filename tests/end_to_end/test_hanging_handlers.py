"""A handler that never returns costs its own command, and no other."""

from __future__ import annotations

from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System
from tests.support.waiting import eventually

CONCURRENCY = 4
ABANDONED = "a handler ignores its cancellation and is abandoned; its slot is free again"


async def test_a_handler_that_never_returns_does_not_keep_its_slot(system: System) -> None:
    (_, worker) = await system.start(SAGA_WORKER_CONCURRENCY=str(CONCURRENCY))

    def in_hand(commands: int) -> bool:
        return bool(system.groups(system.names.commands("travel"))["travel"]["pending"] == commands)

    # As many as there are slots, and half of them cannot even be cancelled.
    first = {f"first-{number}": {"flight": ["hang" if number % 2 else "hang on"]} for number in range(CONCURRENCY)}
    system.start_sagas("brisk", first)
    await eventually(lambda: in_hand(CONCURRENCY), what="all slots are taken")
    # Its own deadline is far away: it goes on as soon as a slot is free again.
    system.start_saga("trip", "behind-them")
    await system.until_ended(CONCURRENCY + 1)
    for key in first:
        assert (await system.history(key))[1:3] == [
            "action_timed_out flight 1: running",
            "action_retry_due flight 1: running -> flight:action:2",
        ]

    def abandoned() -> list[str]:
        return [line["event"] for line in system.lines_of(worker) if line["level"] == "error"]

    await eventually(lambda: len(abandoned()) == CONCURRENCY // 2, what="those that pay no heed are abandoned")
    assert all(event.startswith(ABANDONED) for event in abandoned())
    await eventually(lambda: in_hand(0), what="their entries are acknowledged")

    # No more is read than there is room for: every slot is free, those of the abandoned too.
    system.start_sagas("brisk", {f"second-{number}": {"flight": ["hang"]} for number in range(CONCURRENCY)})
    await eventually(lambda: in_hand(CONCURRENCY), what="all slots are taken again")
    await system.until_ended(2 * CONCURRENCY + 1)
    statuses = await system.fetch("select distinct status from saga.sagas")
    assert [row["status"] for row in statuses] == ["completed"]
    await assert_lawful(system, 2 * CONCURRENCY + 1)
