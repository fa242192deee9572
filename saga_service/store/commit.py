"""One batch as the arrays that `saga_private.commit_batch` takes: nothing per saga on the wire.

Columns that hold only numbers, ids, words of ours or JSON are sent as the text of a Postgres array (`{1,2,null}`),
which orjson makes many times as fast as asyncpg makes a binary array: it halves what a commit costs this process. Text
that others wrote goes as a binary array.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import orjson

from saga_service.engine.ports import Batch, Write
from saga_service.store.columns import (
    ADVANCED,
    ASKED,
    DEAD_LETTERS,
    DEFERRED,
    HISTORY,
    PARKED,
    RESULTS,
    STARTED,
    WAITING,
    Column,
    Row,
)
from saga_service.store.encryption import encrypted_state
from saga_service.wire.encryption import Cipher, encrypts
from saga_service.wire.entries import Message

_BY_SAGA = attrgetter("state.id")
_BY_REQUEST = attrgetter("request_id")
_BY_NUMBER = attrgetter("entry.request.number")

_NONE = "{}"
"""The text of an empty array."""


def arguments(batch: Batch, now_ms: int, cipher: Cipher | None = None) -> list[object]:
    """The arguments of `queries.COMMIT`.

    All rows are in the order in which `schema.sql` says that locks are taken. Raises Unwritable or
    orjson.JSONEncodeError where a value cannot be stored.
    """
    writes = sorted(batch.writes, key=_BY_SAGA)
    if encrypts(cipher):
        writes = [_encrypted(write, cipher) for write in writes]
    waiting = [each for each in batch.deferred if each.entry.request is not None]
    deferred = [each for each in batch.deferred if each.entry.request is None]
    return [
        *_arrays(RESULTS, sorted(batch.results, key=_BY_REQUEST)),
        *_arrays(ASKED, batch.asked),
        *_arrays(WAITING, sorted(waiting, key=_BY_NUMBER)),
        *_arrays(DEFERRED, sorted(deferred, key=lambda each: _place(each.entry.stream, each.entry.id))),
        *_arrays(STARTED, [write.state for write in writes if write.expected_revision == 0]),
        *_arrays(ADVANCED, [write for write in writes if write.expected_revision != 0]),
        *_arrays(PARKED, sorted(batch.parked)),
        *_arrays(HISTORY, batch.history),
        *_arrays(DEAD_LETTERS, sorted(batch.dead_letters, key=lambda letter: _place(letter.stream, letter.entry_id))),
        now_ms,
        write_messages(batch.messages) if batch.messages else None,
        batch.published,
    ]


def _arrays(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> list[object]:
    return [_array(column, rows) for column in columns]


def _array(column: Column[Row], rows: Sequence[Row]) -> object:
    if not rows:
        return () if column.is_text_of_others else _NONE
    values = list(map(column.value, rows))
    return values if column.is_text_of_others else _literal(values)


def _place(stream: str, entry_id: str) -> tuple[str, int, str, int, str]:
    # An id is a moment and a number within it, and of two numbers the longer one is the greater. So entries of a stream
    # that are deferred together become rows, and are taken up again, in the order in which they came.
    moment, _, number = entry_id.partition("-")
    return stream, len(moment), moment, len(number), number


def _encrypted(write: Write, cipher: Cipher) -> Write:
    # A saga that went on has its input in its row, and that is never written again.
    return Write(encrypted_state(write.state, cipher, with_input=write.expected_revision == 0), write.expected_revision)


def _literal(values: Sequence[int | str | None]) -> str:
    """A Postgres array as text.

    Its quotes, backslashes and nulls are those of JSON. Only control characters are escaped otherwise, and such values
    have none.
    """
    return f"{{{orjson.dumps(values)[1:-1].decode()}}}"


def write_messages(messages: Sequence[Message]) -> str:
    return orjson.dumps([(message.stream, message.fields) for message in messages]).decode()


def read_messages(text: str) -> list[Message]:
    return [Message(stream, tuple(fields)) for stream, fields in orjson.loads(text)]
