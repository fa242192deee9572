"""All that a saga can have, once each on real servers with real processes: graphs, pivots, waits, doubts, children."""

from __future__ import annotations

from typing import Any

import asyncpg

from saga_service.core.ids import CommandName, command_id, saga_id_from_key, saga_id_of_child
from saga_service.core.vocabulary import Direction
from tests.end_to_end.system import System, effects_in_short
from tests.support.waiting import eventually


async def _effects_of(system: System, key: str) -> list[str]:
    saga = await system.saga(key)
    assert saga is not None
    return effects_in_short(effect for effect in system.effects() if effect.saga_id == str(saga["id"]))


async def _steps(system: System, key: str) -> dict[str, str]:
    rows = await system.fetch(
        "select step, steps.status from saga.steps join saga.sagas on sagas.id = saga_id where key = $1"
        " order by position",
        key,
    )
    return {row["step"]: row["status"] for row in rows}


async def _output(system: System, key: str, step: str) -> Any:
    """Any: what the worker returned."""
    return await system.value(
        "select output from saga.steps join saga.sagas on sagas.id = saga_id where key = $1 and step = $2", key, step
    )


def _signal(system: System, name: str, key: str, **fields: str) -> None:
    system.add(system.names.events, {"type": name, "subject": key, **fields})


async def _ask(system: System, operation: str, saga: str, key: str, **fields: str) -> None:
    system.add(
        system.names.events, {"type": f"saga.{operation}", "saga": saga, "subject": key, "actor": "Ann", **fields}
    )


# ------------------------------------------------------------------------------------------------------------- graph


async def test_branches_go_side_by_side_and_a_join_waits_for_all_of_them(standing: System) -> None:
    # Each branch takes longer than both may take one after the other.
    standing.start_saga("graph", "branches", plan={"left": ["sleep 300"], "right": ["sleep 300"]})
    await standing.until("branches", "completed")
    assert await _steps(standing, "branches") == {
        "plan": "succeeded",
        "left": "succeeded",
        "right": "succeeded",
        "extra": "skipped",
        "join": "succeeded",
    }
    history = await standing.history("branches")
    assert history[1] == "action_succeeded plan 1: running -> left:action:1 -> right:action:1"
    assert history[-2].endswith("running -> join:action:1")


async def test_a_condition_that_holds_lets_its_step_begin_and_a_mapping_says_what_it_is_sent(standing: System) -> None:
    standing.start_saga("graph", "mapped", plan={"extra": ["succeed"]})
    await standing.until("mapped", "completed")
    assert (await _steps(standing, "mapped"))["extra"] == "succeeded"
    left, join = [await _output(standing, "mapped", step) for step in ("left", "join")]
    assert (left["received"], left["outputs"]) == ({"trip": "mapped"}, ["plan"])
    assert join["received"] == {"who": "mapped", "right": 1, "note": "from the graph"}
    assert join["outputs"] == [], "a step that says what it is sent gets no more"


async def test_a_failure_beside_a_branch_in_flight_awaits_it_and_undoes_in_reverse_order(standing: System) -> None:
    standing.start_saga("graph", "beside", plan={"left": ["reject"], "right": ["sleep 500"]})
    await standing.until("beside", "compensated")
    assert await _effects_of(standing, "beside") == [
        "plan 1 succeeded",
        "left 1 rejected",
        "right 1 succeeded",
        "undo right 1 succeeded",
        "undo plan 1 succeeded",
    ]


async def test_parallel_undo_goes_side_by_side_where_the_author_says_so(standing: System) -> None:
    standing.start_saga("side-by-side", "undone-at-once", plan={"join": ["reject"], "undo left": ["sleep 200"]})
    await standing.until("undone-at-once", "compensated")
    history = await standing.history("undone-at-once")
    assert any("left:compensation:1" in line and "right:compensation:1" in line for line in history), history
    assert (await _effects_of(standing, "undone-at-once"))[-1] == "undo plan 1 succeeded"


# ------------------------------------------------------------------------------------------------------------- kinds


async def test_after_the_pivot_a_step_is_tried_on_and_then_waits_for_a_person(standing: System) -> None:
    standing.start_saga("decided", "past-the-pivot", plan={"tell": ["fail", "fail"]})
    await standing.until("past-the-pivot", "stuck")
    await _ask(standing, "cancel", "decided", "past-the-pivot")
    await _ask(standing, "retry", "decided", "past-the-pivot", reason="the printer is back")
    await standing.until("past-the-pivot", "completed")
    lines = await standing.fetch(
        "select event, actor, reason from saga.history where actor is not null and saga_id = $1",
        saga_id_from_key("decided", "past-the-pivot"),
    )
    assert [tuple(line) for line in lines] == [("retry_requested", "Ann", "the printer is back")]


async def test_a_child_saga_after_the_pivot_is_begun_anew_until_it_is_done(standing: System) -> None:
    standing.start_saga("settled", "child-past-the-pivot", plan={"right": ["reject first child-past-the-pivot"]})
    await standing.until("child-past-the-pivot", "completed")
    assert await _children_of(standing, "child-past-the-pivot") == ["compensated", "completed"]
    events = [line.partition(":")[0] for line in await standing.history("child-past-the-pivot")]
    assert events[3:] == ["action_failed journey 1", "action_retry_due journey 1", "action_succeeded journey 2"]


# ----------------------------------------------------------------------------------------------------------- retries


async def test_no_attempt_begins_beyond_the_budget(standing: System) -> None:
    standing.start_saga("sparing", "within-budget", plan={"left": ["fail"] * 100})
    saga = await standing.until("within-budget", "compensated")
    assert (saga["error_step"], saga["error_code"]) == ("left", "planned")
    began = await standing.fetch(
        "select at from saga.history where saga_id = $1 and (event = 'action_succeeded' or event = 'action_retry_due')"
        " order by revision",
        saga["id"],
    )
    first, *later = (line["at"] for line in began)
    assert later, "it was tried again at all"
    assert all((at - first).total_seconds() <= 1 for at in later)


async def test_what_fails_with_a_code_that_is_pointless_is_not_tried_again(standing: System) -> None:
    standing.start_saga("sparing", "pointless", plan={"right": ["fail"]})
    saga = await standing.until("pointless", "compensated")
    assert (saga["error_step"], saga["error_code"]) == ("right", "planned")
    assert await _effects_of(standing, "pointless") == [
        "plan 1 succeeded",
        "left 1 succeeded",
        "right 1 failed",
        "undo left 1 succeeded",
        "undo plan 1 succeeded",
    ]


async def test_a_workers_own_wish_for_the_wait_goes_beyond_the_policys(standing: System) -> None:
    """The policy's longest wait is one second."""
    standing.start_saga("decided", "by-wish", plan={"plan": ["fail 1500"]})
    await standing.until("by-wish", "completed")
    failed, due = [
        (await standing.until_history("by-wish", event))["at"] for event in ("action_failed", "action_retry_due")
    ]
    assert (due - failed).total_seconds() >= 1.5


# -------------------------------------------------------------------------------------------------- signals and time


async def test_a_signal_before_and_after_the_wait_is_reached_and_twice_is_one(standing: System) -> None:
    standing.start_saga("approved", "approved-late")
    await standing.until("approved-late", "running")
    await eventually(lambda: _is_waiting(standing, "approved-late"))
    _signal(standing, "trip.approved", "approved-late", id="s-1", data='{"by": "Ann"}')
    _signal(standing, "trip.approved", "approved-late", id="s-1", data='{"by": "Ann"}')
    await standing.until("approved-late", "completed")
    standing.start_saga("approved", "approved-early", plan={"plan": ["sleep 500"]})
    await standing.until("approved-early", "running")
    _signal(standing, "trip.approved", "approved-early", data='{"by": "Bob"}')
    await standing.until("approved-early", "completed")
    taken = await standing.fetch("select taken from saga.signals")
    assert [row["taken"] for row in taken] == [True, True]


async def _is_waiting(system: System, key: str) -> bool:
    return (await _steps(system, key)).get("approval") == "waiting"


async def test_a_wait_that_is_over_goes_on_with_its_default_or_fails_without_one(standing: System) -> None:
    standing.start_saga("impatient", "no-signal")
    saga = await standing.until("no-signal", "compensated")
    assert (saga["error_step"], saga["error_code"]) == ("second_approval", "signal_timed_out")
    assert await _steps(standing, "no-signal") == {
        "plan": "compensated",
        "approval": "succeeded",
        "nap": "succeeded",
        "second_approval": "failed",
    }


async def test_a_saga_that_is_not_done_by_its_deadline_is_undone(standing: System) -> None:
    standing.start_saga("late", "too-late", plan={"left": ["sleep 4000"]})
    saga = await standing.until("too-late", "compensated")
    assert saga["error_code"] == "deadline"
    assert (await _effects_of(standing, "too-late"))[-2:] == ["undo left 1 succeeded", "undo plan 1 succeeded"]


async def test_signs_of_life_keep_a_long_step_alive_and_silence_ends_it(standing: System) -> None:
    standing.start_saga("beating", "alive", plan={"left": ["beat 5000"]})
    standing.start_saga("beating", "silent", plan={"left": ["sleep 10000"]})
    saga = await standing.until("silent", "compensated", within_s=30)
    assert saga["error_code"] == "heartbeat_timeout"
    await standing.until("alive", "completed", within_s=30)


# ------------------------------------------------------------------------------------------------------------ doubts


async def test_a_probe_finds_out_whether_it_happened(standing: System) -> None:
    standing.start_saga("asking", "it-happened", plan={"charge": ["sleep 10000"]})
    await standing.until("it-happened", "completed", within_s=30)
    standing.start_saga("asking", "it-did-not", plan={"charge": ["sleep 10000"], "find charge": ["reject"]})
    await standing.until("it-did-not", "completed", within_s=30)
    events = [line.partition(":")[0] for line in await standing.history("it-did-not")]
    assert events[2:] == [
        "action_timed_out charge 1",
        "probe_denied charge 1",
        "action_retry_due charge 1",
        "action_succeeded charge 2",
    ]
    assert (await standing.history("it-happened"))[-1] == "probe_confirmed charge 1: completed"


async def test_what_is_held_waits_for_a_person_or_a_late_reply(standing: System) -> None:
    standing.start_saga("held", "resolved", plan={"charge": ["hang"]})
    standing.start_saga("held", "answered", plan={"charge": ["overrun 300"]})
    await standing.until("resolved", "stuck")
    await _ask(standing, "resolve", "held", "resolved", resolution="succeeded", data='{"receipt": "R-1"}')
    await standing.until("resolved", "completed")
    await standing.until("answered", "completed")


# ---------------------------------------------------------------------------------------------------------- children


async def _child_of(system: System, key: str) -> dict[str, object]:
    (row,) = await _child_rows(system, key)
    return dict(row)


async def _children_of(system: System, key: str) -> list[str]:
    """Their statuses, in the order in which they began."""
    return [row["status"] for row in await _child_rows(system, key)]


async def _child_rows(system: System, key: str) -> list[asyncpg.Record]:
    return await system.fetch(
        "select child.id, child.status from saga.sagas as child join saga.sagas on sagas.id = child.parent_id"
        " where sagas.key = $1 order by child.created_at",
        key,
    )


async def test_a_child_saga_runs_and_gives_its_result_to_its_parent(standing: System) -> None:
    standing.start_saga("parent", "with-child")
    await standing.until("with-child", "completed")
    assert (await _child_of(standing, "with-child"))["status"] == "completed"
    assert (await _output(standing, "with-child", "journey")).keys() == {"left", "right"}


async def test_a_parents_undo_undoes_a_completed_child(standing: System) -> None:
    standing.start_saga("parent", "undone-with-child", plan={"join": ["reject"]})
    await standing.until("undone-with-child", "compensated")
    assert (await _child_of(standing, "undone-with-child"))["status"] == "compensated"


async def test_a_childs_failure_comes_up(standing: System) -> None:
    standing.start_saga("parent", "failing-child", plan={"right": ["reject"]})
    saga = await standing.until("failing-child", "compensated")
    assert (saga["error_step"], saga["error_code"]) == ("journey", "planned")


async def test_a_cancel_goes_down_to_the_child(standing: System) -> None:
    standing.start_saga("parent", "cancelled-with-child", plan={"left": ["sleep 1500"]})
    await eventually(lambda: _has_child(standing, "cancelled-with-child"))
    await _ask(standing, "cancel", "parent", "cancelled-with-child", reason="the customer called")
    saga = await standing.until("cancelled-with-child", "compensated", within_s=30)
    assert (saga["error_code"], saga["error_message"]) == ("cancelled", "requested by Ann: the customer called")
    assert (await _child_of(standing, "cancelled-with-child"))["status"] == "compensated"


async def test_the_undo_of_a_grandparent_goes_all_the_way_down_in_reverse_order(standing: System) -> None:
    standing.start_saga("grandparent", "family", plan={"extra": ["reject"]})
    await standing.until("family", "compensated")
    family = await _family(standing, "family")
    assert [saga["status"] for saga in family] == ["compensated"] * 3
    mine = {str(saga["id"]) for saga in family}
    done = effects_in_short(effect for effect in standing.effects() if effect.saga_id in mine)
    names = ["plan", "plan", "left", "right", "join"]
    assert done == [
        *(f"{name} 1 succeeded" for name in names),
        "extra 1 rejected",
        *(f"undo {name} 1 succeeded" for name in reversed(names)),
    ]


async def test_a_cancel_goes_down_to_the_grandchild(standing: System) -> None:
    standing.start_saga("grandparent", "cancelled-family", plan={"right": ["sleep 1500"]})

    async def all_three_are_there() -> bool:
        return len(await _family(standing, "cancelled-family")) == 3

    await eventually(all_three_are_there)
    await _ask(standing, "cancel", "grandparent", "cancelled-family")
    await standing.until("cancelled-family", "compensated", within_s=30)
    assert [saga["status"] for saga in await _family(standing, "cancelled-family")] == ["compensated"] * 3


async def _family(system: System, key: str) -> list[dict[str, object]]:
    """A saga, its child and its grandchild."""
    rows = await system.fetch(
        "with recursive family as ("
        " select id, status, 1 as depth from saga.sagas where saga = 'grandparent' and key = $1"
        " union all select sagas.id, sagas.status, depth + 1 from saga.sagas join family on sagas.parent_id = family.id"
        ") select id, status from family order by depth",
        key,
    )
    return [dict(row) for row in rows]


async def test_a_child_whose_start_comes_after_its_cancel_never_begins(standing: System) -> None:
    """Two replicas may take the two messages in either order: here the cancel is there before all else."""
    parent_id = saga_id_from_key("parent", "overtaken")
    start = CommandName(parent_id, "journey", Direction.ACTION, 1)
    child_id = saga_id_of_child("journey", start)
    standing.add(
        standing.names.events,
        {"type": "saga.cancel", "saga": "journey", "saga_id": child_id, "command_id": command_id(*start)},
    )

    async def it_has_ended() -> bool:
        rows = await standing.fetch("select status, version from saga.sagas where id = $1", child_id)
        assert [tuple(row) for row in rows] == [("compensated", "tombstone")]
        return True

    await eventually(it_has_ended)
    standing.start_saga("parent", "overtaken")
    saga = await standing.until("overtaken", "compensated")
    assert (saga["error_step"], saga["error_code"]) == ("journey", "cancelled")
    assert [effect for effect in standing.effects() if effect.saga_id == child_id] == []
    shown = await standing.command("show", child_id)
    assert (shown.exit_code, "cancelled" in shown.out) == (0, True)


async def _has_child(system: System, key: str) -> bool:
    return bool(await system.fetch("select 1 from saga.sagas where parent_id = $1", saga_id_from_key("parent", key)))


# --------------------------------------------------------------------------------------------------------- by a person


async def test_a_paused_saga_keeps_what_comes_in_and_goes_on_when_it_is_resumed(standing: System) -> None:
    standing.start_saga("graph", "paused", plan={"plan": ["sleep 800"]})
    await standing.until("paused", "running")
    await _ask(standing, "pause", "graph", "paused")
    await standing.until("paused", "paused")

    async def plan_is_done() -> bool:
        return (await _steps(standing, "paused"))["plan"] == "succeeded"

    await eventually(plan_is_done)
    assert (await _steps(standing, "paused"))["left"] == "pending"
    await _ask(standing, "resume", "graph", "paused")
    await standing.until("paused", "completed")


# ------------------------------------------------------------------------------------------------------------- by SQL


async def test_a_saga_is_started_and_signalled_inside_the_callers_own_transaction(standing: System) -> None:
    rolled_back = await _start_by_sql(standing, "rolled-back", commit=False)
    started = await _start_by_sql(standing, "by-sql", commit=True)
    assert str(started) == str(saga_id_from_key("approved", "by-sql"))
    await standing.value("select saga.signal('trip.approved', saga_id => $1, data => '{\"by\": \"SQL\"}')", started)
    await standing.until("by-sql", "completed")
    assert await standing.fetch("select 1 from saga.sagas where id = $1", rolled_back) == []
    again = await _start_by_sql(standing, "by-sql", commit=True)
    assert again == started


async def _start_by_sql(system: System, key: str, *, commit: bool) -> object:
    async with system.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        saga_id = await connection.fetchval(
            "select saga.start('approved', jsonb_build_object('trip', $1::text, 'plan', '{}'::jsonb), $1)", key
        )
        await (transaction.commit() if commit else transaction.rollback())
        return saga_id
