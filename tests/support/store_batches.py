"""Batches as the engine would make them, and the tables as a test looks into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from saga_service.core.advance import advance
from saga_service.core.definition import Definition
from saga_service.core.effects import Command, Transition
from saga_service.core.events import Replied, Started
from saga_service.core.ids import CommandName, SagaId, saga_id_from_key
from saga_service.core.state import JsonObject, SagaState
from saga_service.core.vocabulary import Outcome
from saga_service.engine.ports import Batch, Write
from saga_service.wire.commands import write_command
from saga_service.wire.transport import StreamNames
from tests.support.builders import START_MS, definition

ORDER = definition("reserve", "charge", "ship")
NAMES = StreamNames()


def start(key: str, *, saga_input: JsonObject | None = None, at_ms: int = START_MS) -> Transition:
    """The start of the order saga with this business key."""
    saga_id = saga_id_from_key(ORDER.name, key)
    event = Started(saga_id, ORDER.name, ORDER.version, key, saga_input or {"amount": 5})
    return advance(ORDER, None, event, at_ms)


def succeed(transition: Transition, output: JsonObject | None = None, *, at_ms: int = START_MS + 1) -> Transition:
    """The command that a transition sent, answered with success."""
    sent = _commands(transition)[0]
    name = CommandName(sent.saga_id, sent.step, sent.direction, sent.attempt)
    return advance(ORDER, transition.state, Replied(name, Outcome.SUCCEEDED, output or {"done": sent.step}), at_ms)


def batch(*transitions: Transition) -> Batch:
    """One batch of one transition for each of several sagas."""
    made = Batch()
    for transition in transitions:
        add(made, [transition])
    return made


def add(made: Batch, transitions: Sequence[Transition]) -> None:
    """Fold several transitions of one saga into a batch, as one write."""
    state = state_of(transitions[-1])
    history = [entry for transition in transitions for entry in transition.history]
    made.writes.append(Write(state, state.revision - len(history)))
    made.history.extend(history)
    for transition in transitions:
        made.messages.extend(write_command(command, NAMES) for command in _commands(transition))


def _commands(transition: Transition) -> list[Command]:
    """To workers: the sagas of these tests have no child sagas."""
    return [sent for sent in transition.commands if isinstance(sent, Command)]


def state_of(transition: Transition) -> SagaState:
    assert transition.state is not None
    return transition.state


def saga_ids(count: int) -> list[SagaId]:
    return [saga_id_from_key(ORDER.name, f"order-{number}") for number in range(count)]


async def row_counts(pool: asyncpg.Pool) -> dict[str, int]:
    """How many rows each table of a batch holds."""
    tables = ("sagas", "history", "outbox", "dead_letters")
    return {table: await pool.fetchval(f"select count(*) from saga_private.{table}") for table in tables}


def no_definition(_document: Any) -> Definition:  # Any: a JSON object
    raise AssertionError("this test reads no definitions")
