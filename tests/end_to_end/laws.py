"""What holds of every saga once nothing goes on any more, whatever befell the system before: seen from outside alone.

`assert_lawful` waits for that quiet, and then tries every law on every saga. Each law fails with a sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import asyncpg

from tests.end_to_end.effects import Effect
from tests.end_to_end.system import System
from tests.support.waiting import eventually

_SAGA_PATHS = {
    None: {"running"},
    "running": {"running", "completed", "compensating", "compensated"},
    "compensating": {"compensating", "compensated", "stuck"},
    # What was given up on may turn out to have succeeded, and a stuck undo likewise.
    "compensated": {"compensated", "compensating"},
    "stuck": {"stuck", "compensating", "compensated"},
    "completed": set(),
}
ANSWERED_BY_TESTS = ("by-hand", "left-waiting")
_STANDING = ("succeeded", "unknown")


@dataclass(slots=True)
class Saga:
    """All that can be seen of one saga."""

    row: asyncpg.Record
    steps: list[asyncpg.Record] = field(default_factory=list)
    history: list[asyncpg.Record] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    announced: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.row['saga']} {self.row['key'] or self.row['id']}"

    @property
    def sent(self) -> list[str]:
        """Every command that its history tells of, as `step:direction:attempt`."""
        return [command for line in self.history for command in line["sent"]]

    @property
    def was_in_doubt(self) -> bool:
        return any(line["event"].endswith("timed_out") for line in self.history)


async def assert_lawful(
    system: System,
    sagas: int,
    *,
    within_s: float = 60.0,
    dead_letters: int = 0,
    foreign_streams: tuple[str, ...] = (),
    redis_lost_data: bool = False,
) -> list[Saga]:
    """So many starts were accepted, and everything about them is in order; the sagas.

    `redis_lost_data`: some outcomes may be gone.
    """
    await system.until_ended(sagas, within_s)
    await nothing_is_left_over(system, foreign_streams)
    assert await system.value("select count(*) from saga.dead_letters") == dead_letters, "dead letters"
    for child in system.children:
        no_error_was_unforeseen(child.name, system.lines_of(child))
    seen = await _see(system)
    for saga in seen:
        history_has_neither_gap_nor_fork(saga)
        history_is_a_legal_path(saga)
        every_command_is_sent_once_and_in_turn(saga)
        an_end_owes_nothing(saga)
        undo_goes_in_reverse_order_of_completion(saga)
        effects_are_those_that_were_sent(saga)
        if saga.row["saga"] not in ANSWERED_BY_TESTS:
            every_result_has_its_effect(saga)
            every_effect_is_undone_in_reverse_order(saga)
        if not redis_lost_data:
            the_end_is_announced(saga)
    return seen


async def _see(system: System) -> list[Saga]:
    sagas = {str(row["id"]): Saga(row) for row in await system.fetch("select * from saga.sagas")}
    for row in await system.fetch("select * from saga.steps order by saga_id, position"):
        sagas[str(row["saga_id"])].steps.append(row)
    for row in await system.fetch("select * from saga.history order by saga_id, revision"):
        sagas[str(row["saga_id"])].history.append(row)
    for effect in sorted(system.effects(), key=lambda effect: effect.at_ns):
        sagas[effect.saga_id].effects.append(effect)
    for _, outcome in system.entries(system.names.outcomes):
        saga_id, _, revision = outcome["id"].partition(":")
        sagas[saga_id].announced.append(int(revision))
    return list(sagas.values())


# ---------------------------------------------------------------------------------------------- of the whole system


async def nothing_is_left_over(system: System, foreign_streams: tuple[str, ...] = ()) -> None:
    async def quiet() -> bool:
        assert await system.value("select count(*) from saga_private.outbox") == 0, "the outbox is empty"
        assert await system.value("select count(*) from saga.sagas where next_check_at is not null") == 0, "no timer"
        for stream in system.streams(*foreign_streams):
            for name, group in system.groups(stream).items():
                assert group["pending"] == 0, f"{group['pending']} entries of {stream} are pending in {name}"
                # Unknown where Redis cannot tell; what was not read would show as a saga that did not end.
                assert not group.get("lag"), f"{group['lag']} entries of {stream} are not read in {name}"
        return True

    await eventually(quiet, 15.0, "nothing is left over")


def no_error_was_unforeseen(name: str, lines: list[dict[str, Any]]) -> None:
    """Any: what a line of a log holds."""
    for line in lines:
        unforeseen = line["level"] == "critical" or (line["level"] == "error" and "exception" in line)
        assert not unforeseen, f"{name}: {line}"


# ------------------------------------------------------------------------------------------------------ of one saga


def history_has_neither_gap_nor_fork(saga: Saga) -> None:
    revisions = [line["revision"] for line in saga.history]
    assert revisions == list(range(1, saga.row["revision"] + 1)), f"{saga.name}: revisions {revisions}"


def history_is_a_legal_path(saga: Saga) -> None:
    assert saga.history[0]["event"] == "started", f"{saga.name} begins with its start"
    assert [line["event"] for line in saga.history].count("started") == 1, f"{saga.name} starts once"
    before = None
    for line in saga.history:
        assert line["status"] in _SAGA_PATHS[before], f"{saga.name}: from {before} to {line['status']}"
        before = line["status"]
    assert before == saga.row["status"], f"{saga.name} is what its history says"


def every_command_is_sent_once_and_in_turn(saga: Saga) -> None:
    attempts: defaultdict[str, int] = defaultdict(int)
    for line in saga.history:
        if line["step"] is not None:
            assert line["attempt"] <= attempts[f"{line['step']}:{line['direction']}"], (
                f"{saga.name}: an answer to what was never sent: {dict(line)}"
            )
        assert len(line["sent"]) <= 1, f"{saga.name} does one thing after another: {line['sent']}"
        for command in line["sent"]:
            name, _, attempt = command.rpartition(":")
            attempts[name] += 1
            assert int(attempt) == attempts[name], f"{saga.name}: {command} comes as attempt {attempts[name]}"


def an_end_owes_nothing(saga: Saga) -> None:
    status = saga.row["status"]
    steps = {step["step"]: step["status"] for step in saga.steps}
    assert all(step["waiting_for"] is None for step in saga.steps), f"{saga.name} waits for nothing: {steps}"
    if status == "completed":
        assert set(steps.values()) == {"succeeded"}, f"{saga.name} is completed: {steps}"
        assert not any(":compensation:" in command for command in saga.sent), f"{saga.name} undid nothing"
    if status == "compensated":
        undoable = {step for step, state in steps.items() if state in _STANDING and step != "invoice"}
        assert undoable == set(), f"{saga.name} is compensated, and {undoable} stand"
        assert "compensation_failed" not in steps.values(), f"{saga.name}: {steps}"
    if status == "stuck":
        assert "compensation_failed" in steps.values(), f"{saga.name} is stuck: {steps}"


def undo_goes_in_reverse_order_of_completion(saga: Saga) -> None:
    """A step that is found to have succeeded after all is undone when that is known."""
    finished = {step["step"]: step["effect_revision"] for step in saga.steps}
    undone = [
        (command.partition(":")[0], line["revision"])
        for line in saga.history
        for command in line["sent"]
        if command.endswith(":compensation:1")
    ]
    for (step, revision), (next_step, _) in pairwise(undone):
        known_then = finished[next_step] is not None and finished[next_step] < revision
        assert not known_then or finished[next_step] < finished[step], f"{saga.name}: {undone} of {finished}"
    succeeded = Counter(line["step"] for line in saga.history if line["event"] == "compensation_succeeded")
    assert all(count == 1 for count in succeeded.values()), f"{saga.name}: an undo counts once: {succeeded}"


def the_end_is_announced(saga: Saga) -> None:
    if saga.row["status"] != "stuck":
        assert saga.row["revision"] in saga.announced, f"{saga.name}: its end is announced, not only {saga.announced}"


# ------------------------------------------------------------------------------------------------------- of effects


def effects_are_those_that_were_sent(saga: Saga) -> None:
    for effect in saga.effects:
        command = f"{effect.step}:{effect.direction}:{effect.attempt}"
        assert command in saga.sent, f"{saga.name}: {command} was carried out and never sent"
        key = f"{effect.saga_id}:{effect.step}:{effect.direction}"
        assert effect.idempotency_key == key, f"{saga.name}: one key for all attempts, not {effect.idempotency_key}"


def every_result_has_its_effect(saga: Saga) -> None:
    outcomes = {(effect.step, effect.direction, effect.attempt, effect.outcome) for effect in saga.effects}
    for line in saga.history:
        outcome = str(line["event"]).rpartition("_")[2]
        if outcome in ("succeeded", "failed", "rejected"):
            result = (line["step"], line["direction"], line["attempt"], outcome)
            assert result in outcomes, f"{saga.name}: {result} is in the history, and was never carried out"


def every_effect_is_undone_in_reverse_order(saga: Saga) -> None:
    """The moment of an effect is that of its first success: what comes after it has the same idempotency key."""
    if saga.row["status"] != "compensated" or saga.was_in_doubt:
        return
    done, undone = _first_successes(saga, "action"), _first_successes(saga, "compensation")
    done.pop("invoice", None)
    assert undone.keys() == done.keys(), f"{saga.name}: {list(done)} were done, {list(undone)} undone"
    for step, undone_at_ns in undone.items():
        assert done[step] < undone_at_ns, f"{saga.name}: {step} was undone before it was done"
    assert sorted(undone, key=undone.__getitem__) == sorted(done, key=done.__getitem__, reverse=True), (
        f"{saga.name}: done {sorted(done, key=done.__getitem__)}, undone {sorted(undone, key=undone.__getitem__)}"
    )


def _first_successes(saga: Saga, direction: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for effect in saga.effects:
        if effect.direction == direction and effect.outcome == "succeeded":
            found.setdefault(effect.step, effect.at_ns)
    return found
