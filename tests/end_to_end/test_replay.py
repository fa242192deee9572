"""A dead letter is put back on its stream once its cause is gone, and then it is as if it had just come."""

from __future__ import annotations

import json

from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System


async def test_dead_letters_are_replayed_once_their_cause_is_gone(system: System) -> None:
    service = await system.start_in_one(SAGA_DEFINITIONS="tests.end_to_end.sagas:trip")
    unknown = system.start_saga("brisk", "unknown")
    large = system.add(
        system.names.events, {"type": "trip", "data": json.dumps({"trip": "large", "x": "x" * 2_000_000})}
    )
    foreign = system.add("saga_requests", {"robot_count": "none", "area": "ZoneA"})
    letters = [
        await system.dead_letter(system.names.events, unknown),
        await system.dead_letter(system.names.events, large),
    ]
    assert (
        "no saga is started by an event of type 'brisk', and none waits for a signal of that name; known types: trip"
        in letters[0]["reason"]
    )
    service.ask_to_stop()
    assert await system.ended(service) == 0

    await system.start_in_one(SAGA_ENTRY_BYTES_MAX=str(4 * 1024 * 1024))
    letters.append(await system.dead_letter("saga_requests", foreign))
    numbers = [str(letter["id"]) for letter in letters]
    replayed = await system.command("dead-letters", "replay", "--json", *numbers)
    assert replayed.exit_code == 0, replayed
    await system.until("unknown", "completed")
    await system.until("large", "completed")
    # The third one's cause is not gone: it comes back as a dead letter of its own.
    (entry_id,) = (each["entry_id"] for each in json.loads(replayed.out) if each["stream"] == "saga_requests")
    again = await system.dead_letter("saga_requests", entry_id)
    assert again["reason"] == letters[2]["reason"]

    twice = await system.command("dead-letters", "replay", numbers[0])
    assert (twice.exit_code, "replayed already" in twice.err) == (1, True), twice
    await assert_lawful(system, 2, dead_letters=4, foreign_streams=("saga_requests",))
