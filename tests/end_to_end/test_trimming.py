"""Our own streams stay short; nothing goes that somebody has not read; streams of others are never touched."""

from __future__ import annotations

from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System
from tests.support.waiting import eventually

SAGAS = 300
NODE_ENTRIES = 100
"""Redis removes whole nodes of a stream, which hold so many entries unless it is told otherwise."""


async def test_handled_entries_are_trimmed_from_our_streams_and_from_no_other(system: System) -> None:
    await system.start_in_one()
    for number in range(SAGAS):
        system.add("saga_requests", {"robot_count": "1", "area": f"Zone{number}"})
    system.start_sagas("trip", {f"trimmed-{number}": {} for number in range(SAGAS)})
    await assert_lawful(system, 2 * SAGAS, foreign_streams=("saga_requests",))
    ours = [
        system.names.events,
        system.names.replies,
        *(system.names.commands(service) for service in ("travel", "rental", "fleet", "planning", "mapping")),
    ]
    await eventually(lambda: max(system.redis.xlen(stream) for stream in ours) <= NODE_ENTRIES)
    assert system.redis.xlen("saga_requests") == SAGAS
    # Others may still want to read how sagas ended.
    assert system.redis.xlen(system.names.outcomes) >= 2 * SAGAS


async def test_what_another_group_has_not_read_is_kept_for_it(system: System) -> None:
    await system.start_in_one()
    system.redis.xgroup_create(system.names.events, "auditor", "0", mkstream=True)
    system.start_sagas("trip", {f"audited-{number}": {} for number in range(500)})
    await system.until_ended(500)
    read: list[bytes] = []
    while rows := system.redis.xreadgroup("auditor", "me", {system.names.events: ">"}, count=200):
        read += [entry_id for entry_id, _ in rows[0][1]]
    assert len(read) == 500
    # Read is not handled: an entry that is pending is kept, with all that came after it.
    system.redis.xack(system.names.events, "auditor", *read[:250])
    await eventually(lambda: system.redis.xlen(system.names.events) <= 250 + NODE_ENTRIES)
    assert system.redis.xrange(system.names.events, read[250], count=1)[0][0] == read[250]
    system.redis.xack(system.names.events, "auditor", *read[250:])
    await eventually(lambda: system.redis.xlen(system.names.events) <= NODE_ENTRIES)
