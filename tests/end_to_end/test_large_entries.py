"""Entries so large that a handful of them is more than a batch: neither the memory nor the sagas suffer."""

from __future__ import annotations

from saga_service.local.bench import peak_memory_mib
from saga_service.wire.dead_letters import raw_pairs
from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System

LARGE_ENTRIES = 60
LARGE_BYTES = 2_000_000
MEMORY_MIB_MAX = 600
"""Far more than is needed, and far less than all of the large entries at once, each of them several times."""


async def test_many_large_entries_fill_no_memory_and_hold_up_no_saga(system: System) -> None:
    service, _ = await system.start()
    sent = [
        {b"type": b"trip", b"data": b'{"trip": "%d", "x": "%s"}' % (number, b"x" * LARGE_BYTES)}
        for number in range(LARGE_ENTRIES)
    ]
    with system.redis.pipeline(transaction=True) as pipeline:
        for fields in sent:
            pipeline.xadd(system.names.events, fields)
        pipeline.xadd(system.names.events, {"type": "trip", "data": '{"trip": "good"}'})
        entry_ids = [entry_id.decode() for entry_id in pipeline.execute()]
    await system.until("good", "completed")
    for entry_id, fields in zip(entry_ids, sent, strict=False):
        letter = await system.dead_letter(system.names.events, entry_id)
        assert raw_pairs(letter["raw"]) == list(fields.items())
    await assert_lawful(system, 1, dead_letters=LARGE_ENTRIES)
    announced = [letter for _, letter in system.entries(system.names.dead_letters)]
    assert {letter["entry_id"] for letter in announced} == set(entry_ids[:LARGE_ENTRIES])
    assert all(letter["stored_in"] == "saga.dead_letters" and "raw" not in letter for letter in announced)
    assert peak_memory_mib(service.pid) < MEMORY_MIB_MAX
