"""How sagas go on when steps fail, time out, or answer late, and how they come to an end all the same."""

from __future__ import annotations

import orjson

from saga_service.core.ids import saga_id_from_event
from tests.end_to_end.laws import assert_lawful
from tests.end_to_end.system import System, effects_in_short
from tests.support.waiting import eventually


async def _effects_of(system: System, key: str) -> list[str]:
    saga = await system.saga(key)
    assert saga is not None
    return effects_in_short(effect for effect in system.effects() if effect.saga_id == str(saga["id"]))


async def test_a_failed_step_is_tried_again_and_the_saga_goes_on(standing: System) -> None:
    standing.start_saga("trip", "tried-again", plan={"hotel": ["fail", "fail"]})
    await standing.until("tried-again", "completed", within_s=30)
    assert await _effects_of(standing, "tried-again") == [
        "flight 1 succeeded",
        "hotel 1 failed",
        "hotel 2 failed",
        "hotel 3 succeeded",
        "car 1 succeeded",
        "invoice 1 succeeded",
    ]


async def test_what_was_done_is_undone_in_reverse_order(standing: System) -> None:
    standing.start_saga("trip", "undone", plan={"invoice": ["reject"], "undo car": ["fail", "fail"]})
    saga = await standing.until("undone", "compensated")
    assert (saga["error_step"], saga["error_code"]) == ("invoice", "planned")
    assert await _effects_of(standing, "undone") == [
        "flight 1 succeeded",
        "hotel 1 succeeded",
        "car 1 succeeded",
        "invoice 1 rejected",
        "undo car 1 failed",
        "undo car 2 failed",
        "undo car 3 succeeded",
        "undo hotel 1 succeeded",
        "undo flight 1 succeeded",
    ]


async def test_a_step_out_of_attempts_turns_the_saga_round(standing: System) -> None:
    standing.start_saga("trip", "out-of-attempts", plan={"hotel": ["fail", "fail", "fail", "succeed"]})
    await standing.until("out-of-attempts", "compensated")
    assert (await standing.history("out-of-attempts"))[-3:] == [
        "action_retry_due hotel 2: running -> hotel:action:3",
        "action_failed hotel 3: compensating -> flight:compensation:1",
        "compensation_succeeded flight 1: compensated",
    ]


async def test_a_step_that_times_out_is_tried_again_and_then_undone_as_if_it_had_happened(standing: System) -> None:
    standing.start_saga("hasty", "timed-out", plan={"hotel": ["overrun 2000", "overrun 2000"]})
    await standing.until("timed-out", "compensated")
    assert await standing.history("timed-out") == [
        "started: running -> flight:action:1",
        "action_succeeded flight 1: running -> hotel:action:1",
        "action_timed_out hotel 1: running",
        "action_retry_due hotel 1: running -> hotel:action:2",
        "action_timed_out hotel 2: compensating -> hotel:compensation:1",
        "compensation_succeeded hotel 1: compensating -> flight:compensation:1",
        "compensation_succeeded flight 1: compensated",
    ]


async def test_an_undo_that_is_given_up_on_leaves_its_debt_to_be_seen(standing: System) -> None:
    standing.start_saga("trip", "stuck", plan={"invoice": ["reject"], "undo hotel": ["fail", "reject"]})
    saga = await standing.until("stuck", "stuck")
    assert (saga["error_step"], saga["stuck_step"], saga["stuck_code"]) == ("invoice", "hotel", "planned")
    assert saga["ended_at"] is None
    debt = await standing.fetch(
        "select step, status, compensation, undo_order, attempts, error_code from saga.compensation_debt"
        " where saga_id = $1 order by undo_order",
        saga["id"],
    )
    assert [tuple(row) for row in debt] == [
        ("hotel", "compensation_failed", "travel.undo_hotel", 1, 2, "planned"),
        ("flight", "succeeded", "travel.undo_flight", 2, 0, None),
    ]


# ------------------------------------------------------------------------------------- the test as the only worker


class ByHand:
    """A saga whose commands the test carries out itself."""

    def __init__(self, system: System, saga: str, event_id: str) -> None:
        self.system = system
        self.saga_id = str(saga_id_from_event(saga, event_id))
        system.add(system.names.events, {"type": saga, "id": event_id, "data": '{"a": 1}'})

    async def command(self, name: str) -> dict[str, str]:
        """The command of this name, `first:action:1`, once it is on its stream."""

        async def come() -> dict[str, str]:
            for _, command in self.system.entries(self.system.names.commands("hand")):
                if command["id"] == f"{self.saga_id}:{name}":
                    return command
            raise AssertionError("not there")

        return await eventually(come, what=name)

    def reply(self, command: dict[str, str], outcome: str, **fields: str) -> None:
        reply = {"command_id": command["id"], "saga_id": command["saga_id"], "outcome": outcome, **fields}
        self.system.add(command["reply_to"], reply)

    async def until(self, status: str, revision: int) -> None:
        async def has_come() -> bool:
            rows = await self.system.fetch("select status, revision from saga.sagas where id = $1", self.saga_id)
            assert [tuple(row) for row in rows] == [(status, revision)]
            return True

        await eventually(has_come)

    async def events(self) -> list[str]:
        rows = await self.system.fetch(
            "select event, status from saga.history where saga_id = $1 order by revision", self.saga_id
        )
        return [f"{row['event']}: {row['status']}" for row in rows]


async def test_a_success_after_the_time_out_counts_while_the_step_is_still_wanted(standing: System) -> None:
    saga = ByHand(standing, "left-waiting", "late-success")
    first = await saga.command("first:action:1")
    await saga.until("running", 2)
    saga.reply(first, "succeeded", data='{"place": 7}')
    second = await saga.command("second:action:1")
    assert orjson.loads(second["data"]) == {"a": 1, "outputs": {"first": {"place": 7}}}
    saga.reply(second, "succeeded")
    await saga.until("completed", 4)
    assert (await saga.events())[1:3] == ["action_timed_out: running", "action_succeeded: running"]


async def test_an_undo_that_succeeds_after_it_was_given_up_on_sets_a_stuck_saga_going(standing: System) -> None:
    saga = ByHand(standing, "left-waiting", "late-undo")
    saga.reply(await saga.command("first:action:1"), "succeeded")
    saga.reply(await saga.command("second:action:1"), "rejected")
    undo = await saga.command("first:compensation:1")
    await saga.until("stuck", 4)
    saga.reply(undo, "succeeded")
    await saga.until("compensated", 5)


async def test_a_success_after_the_step_was_given_up_on_is_recorded_and_undone_in_its_turn(standing: System) -> None:
    saga = ByHand(standing, "by-hand", "late-after-all")
    first = await saga.command("first:action:1")
    saga.reply(first, "rejected", error='{"code": "no", "message": "never"}')
    await saga.until("compensated", 2)
    saga.reply(first, "succeeded", data='{"place": 7}')
    undo = await saga.command("first:compensation:1")
    assert (undo["type"], undo["idempotency_key"]) == ("hand.undo_first", f"{saga.saga_id}:first:compensation")
    assert orjson.loads(undo["data"])["outputs"] == {"first": {"place": 7}}
    await saga.until("compensating", 3)
    saga.reply(undo, "succeeded")
    await saga.until("compensated", 4)


async def test_only_the_first_of_several_answers_to_one_command_counts(standing: System) -> None:
    saga = ByHand(standing, "by-hand", "several-answers")
    first = await saga.command("first:action:1")
    for outcome in ("succeeded", "succeeded", "failed", "rejected", "progress"):
        saga.reply(first, outcome)
    second = await saga.command("second:action:1")
    for outcome in ("progress", "succeeded", "rejected"):
        saga.reply(second, outcome)
    await saga.until("completed", 3)
    # Added last, read last: all of the above has been read.
    standing.start_saga("trip", "after-several-answers")
    await standing.until("after-several-answers", "completed")
    await saga.until("completed", 3)


async def test_an_error_of_half_a_megabyte_is_shortened(standing: System) -> None:
    saga = ByHand(standing, "by-hand", "long-error")
    saga.reply(await saga.command("first:action:1"), "rejected", error="e" * 500_000)
    await saga.until("compensated", 2)
    message = await standing.value("select error_message from saga.sagas where id = $1", saga.saga_id)
    assert message == f"{'e' * 1_999}…"


async def test_everything_above_was_lawful(standing: System) -> None:
    sagas = await standing.value("select count(*) from saga.sagas")
    assert sagas > 0
    await assert_lawful(standing, sagas)
