"""A job outlives the replica that carries it out."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from tests.end_to_end.system import System
from tests.support.waiting import eventually

SAGAS = 1_500
PATIENT = """
name: patient
input: {type: object, properties: {trip: {type: string}}, required: [trip]}
key: trip
steps:
- {name: word, signal: patient.word, timeout: 1h}
"""


async def _job(system: System) -> asyncpg.Record:
    [job] = await system.fetch("select * from saga.jobs")
    return job


async def test_a_replica_that_is_killed_in_the_middle_leaves_the_rest_to_another_and_each_saga_is_operated_once(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "patient.yaml").write_text(PATIENT)
    # What the dead one had in hand is taken over soon.
    settings = {"SAGA_DEFINITIONS": str(tmp_path / "patient.yaml"), "SAGA_REQUESTS_LEASE_MS": "500"}
    first = system.begin_service(**settings)
    await system.ready(first)
    system.start_sagas("patient", {f"P-{number}": {} for number in range(SAGAS)})
    await system.until_taken_in(SAGAS)
    ids = "array(select id from saga.sagas)"
    [preview] = await system.fetch(f"select * from saga.preview_job('pause', {ids}, 'a storm', 'ada')")
    await system.fetch("select saga.confirm_job($1, $2, 'ada')", preview["job_id"], preview["confirm"])

    async def is_in_the_middle() -> bool:
        job = await _job(system)
        return bool(0 < job["requested"] < SAGAS)

    await eventually(is_in_the_middle, what="the job is under way")
    first.kill()
    killed_at = await _job(system)
    await system.ready(system.begin_service(**settings))

    async def has_ended() -> bool:
        return (await _job(system))["ended_at"] is not None

    await eventually(has_ended, 30.0, "the job has ended")
    job = await _job(system)
    assert killed_at["requested"] < SAGAS, "something was left to the other one"
    assert (job["total"], job["applied"], job["repeated"], job["refused"], job["open"]) == (SAGAS, SAGAS, 0, 0, 0)
    paused = await system.fetch(
        "select saga_id, count(*) from saga.history where event = 'pause_requested' and reason = $1 group by saga_id",
        f"job {preview['job_id']}: a storm",
    )
    assert [row["count"] for row in paused] == [1] * SAGAS
