"""One batch as the arrays that `saga_private.commit_batch` takes: nothing per saga on the wire.

Columns that hold only numbers, ids, words of ours or JSON are sent as the text of a Postgres array (`{1,2,null}`),
which orjson makes many times as fast as asyncpg makes a binary array: it halves what a commit costs this process. Text
that others wrote goes as a binary array.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from saga_service.core.effects import HistoryEntry
from saga_service.core.state import SagaState
from saga_service.engine.ports import Batch, RequestResult, Write
from saga_service.store.encryption import encrypted_state
from saga_service.store.rows import write_detail, write_extra, write_fault, write_json, write_steps
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.encryption import Cipher, encrypts
from saga_service.wire.entries import Message

_IDS, _NUMBERS, _MOMENTS, _WORDS, _JSON = (
    f"text::{array}" for array in ("uuid[]", "integer[]", "bigint[]", "text[]", "text[]")
)
_TEXTS = "text[]"

_TYPES = (
    # sagas that start: id, created_at_ms, saga, version, key, traceparent, input, status, revision, updated_at_ms,
    # ended_at_ms, wake_at_ms, fault, steps, extra, parent_id
    *(_IDS, _MOMENTS, _TEXTS, _TEXTS, _TEXTS, _TEXTS, _JSON, _WORDS, _NUMBERS, _MOMENTS),
    *(_MOMENTS, _MOMENTS, _JSON, _JSON, _JSON, _IDS),
    # sagas that went on: id, expected_revision, status, revision, updated_at_ms, ended_at_ms, wake_at_ms, fault,
    # steps, extra
    *(_IDS, _NUMBERS, _WORDS, _NUMBERS, _MOMENTS, _MOMENTS, _MOMENTS, _JSON, _JSON, _JSON),
    # history: saga_id, revision, attempt, at_ms, event, status, step, direction, detail
    *(_IDS, _NUMBERS, _NUMBERS, _MOMENTS, _TEXTS, _WORDS, _TEXTS, _WORDS, _JSON),
    # dead letters: at_ms, stream, entry_id, reason, preview, raw
    *(_MOMENTS, _TEXTS, _TEXTS, _TEXTS, _TEXTS, _TEXTS),
    # requests that were answered: id, verdict, reason, saga_id
    *("bigint[]", _TEXTS, _TEXTS, "uuid[]"),
    # now, messages, outbox rows that were published
    *("bigint", "text", "bigint[]"),
)

_PARAMETERS = ", ".join(f"${place}::{type_}" for place, type_ in enumerate(_TYPES, start=1))
COMMIT = f"select saga_private.commit_batch({_PARAMETERS})"


def arguments(batch: Batch, now_ms: int, cipher: Cipher | None = None) -> list[object]:
    """The parameters of `COMMIT`. Raises Unwritable or orjson.JSONEncodeError where a value cannot be stored."""
    # Sorted by id, so that all replicas lock rows in one order and never wait for each other in a circle.
    writes = sorted(batch.writes, key=_saga_id)
    if encrypts(cipher):
        writes = [_encrypted_write(write, cipher) for write in writes]
    return [
        *_started([write.state for write in writes if write.expected_revision == 0]),
        *_grown([write for write in writes if write.expected_revision != 0]),
        *_history(batch.history),
        *_dead_letters(batch.dead_letters),
        *_answered(sorted(batch.results, key=_request_id)),
        now_ms,
        write_messages(batch.messages) if batch.messages else None,
        batch.published,
    ]


def _encrypted_write(write: Write, cipher: Cipher) -> Write:
    # A saga that went on has its input in its row, and that is never written again.
    return Write(encrypted_state(write.state, cipher, with_input=write.expected_revision == 0), write.expected_revision)


def _saga_id(write: Write) -> str:
    return write.state.id


def _request_id(results: RequestResult) -> int:
    return results.request_id


def _started(states: Sequence[SagaState]) -> tuple[object, ...]:
    return (
        _literal([state.id for state in states]),
        _literal([state.created_at_ms for state in states]),
        [state.saga for state in states],
        [state.version for state in states],
        [state.key for state in states],
        [state.traceparent for state in states],
        _literal([write_json(state.input) for state in states]),
        *_progress(states),
        _literal([None if state.parent is None else state.parent.saga_id for state in states]),
    )


def _grown(writes: Sequence[Write]) -> tuple[object, ...]:
    states = [write.state for write in writes]
    return (
        _literal([state.id for state in states]),
        _literal([write.expected_revision for write in writes]),
        *_progress(states),
    )


def _progress(states: Sequence[SagaState]) -> tuple[object, ...]:
    """What a transition may change."""
    return (
        _literal([state.status._value_ for state in states]),
        _literal([state.revision for state in states]),
        _literal([state.updated_at_ms for state in states]),
        _literal([state.ended_at_ms for state in states]),
        _literal([state.wake_at_ms for state in states]),
        _literal([write_fault(state.fault) for state in states]),
        _literal([write_steps(state.steps) for state in states]),
        _literal([write_extra(state) for state in states]),
    )


def _history(entries: Sequence[HistoryEntry]) -> tuple[object, ...]:
    return (
        _literal([entry.saga_id for entry in entries]),
        _literal([entry.revision for entry in entries]),
        _literal([entry.attempt for entry in entries]),
        _literal([entry.at_ms for entry in entries]),
        [entry.event for entry in entries],
        _literal([entry.status._value_ for entry in entries]),
        [entry.step for entry in entries],
        _literal([None if entry.direction is None else entry.direction._value_ for entry in entries]),
        _literal([write_detail(entry) for entry in entries]),
    )


def _dead_letters(letters: Sequence[DeadLetter]) -> tuple[object, ...]:
    return (
        _literal([letter.at_ms for letter in letters]),
        [letter.stream for letter in letters],
        [letter.entry_id for letter in letters],
        [letter.reason for letter in letters],
        [letter.preview for letter in letters],
        [letter.raw for letter in letters],
    )


def _answered(results: Sequence[RequestResult]) -> tuple[object, ...]:
    return (
        [each.request_id for each in results],
        [each.verdict for each in results],
        [each.reason for each in results],
        [each.saga_id for each in results],
    )


def _literal(values: Sequence[int | str | None]) -> str:
    """A Postgres array as text.

    Its quotes, backslashes and nulls are those of JSON. Only control characters are escaped otherwise, and numbers,
    ids, our own words and JSON texts have none.
    """
    return f"{{{orjson.dumps(values)[1:-1].decode()}}}"


def write_messages(messages: Sequence[Message]) -> str:
    return orjson.dumps([(message.stream, message.fields) for message in messages]).decode()


def read_messages(text: str) -> list[Message]:
    return [Message(stream, tuple(fields)) for stream, fields in orjson.loads(text)]
