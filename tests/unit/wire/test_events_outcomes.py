"""The announcement of a saga's end, and the names of the streams."""

from __future__ import annotations

import json

from saga_service.core.effects import Ended
from saga_service.core.vocabulary import SagaStatus
from saga_service.wire.events import write_outcome
from saga_service.wire.transport import StreamNames
from tests.support.builders import SAGA_ID, START_MS, running

NAMES = StreamNames()


def _fields(fields: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(fields[::2], fields[1::2], strict=True))


def test_a_completed_saga_is_announced_with_what_its_steps_returned() -> None:
    saga = running("reserve", "charge")
    saga.succeed("reserve", {"place": "A4"})
    saga.succeed("charge", None)
    message = write_outcome(saga.ends[0], NAMES)
    assert message.stream == "saga:outcomes"
    fields = _fields(message.fields)
    assert json.loads(fields.pop("data")) == {"reserve": {"place": "A4"}}
    assert fields == {
        "v": "1",
        "id": f"{SAGA_ID}:3",
        "type": "order.completed",
        "saga_id": SAGA_ID,
        "saga": "order",
        "status": "completed",
        "time": str(START_MS),
        "subject": "order-1",
        "traceparent": "00-trace-01",
    }


def test_a_compensated_saga_is_announced_with_its_reason() -> None:
    saga = running("reserve")
    saga.reject("reserve", "sold-out")
    fields = _fields(write_outcome(saga.ends[0], NAMES).fields)
    assert fields["type"] == "order.compensated"
    assert json.loads(fields["error"]) == {"code": "sold-out", "message": "reserve: sold-out", "step": "reserve"}
    assert json.loads(fields["data"]) == {}


def test_what_is_not_there_is_left_out() -> None:
    ended = Ended(SAGA_ID, "order", None, SagaStatus.COMPLETED, 2, START_MS, {}, None, None)
    assert not {"subject", "error", "traceparent"} & _fields(write_outcome(ended, NAMES).fields).keys()


def test_each_end_of_one_saga_has_an_id_of_its_own() -> None:
    saga = running("reserve")
    saga.reject("reserve")
    saga.succeed("reserve")
    saga.undo_succeeds("reserve")
    ids = [_fields(write_outcome(ended, NAMES).fields)["id"] for ended in saga.ends]
    assert ids == [f"{SAGA_ID}:2", f"{SAGA_ID}:4"]


def test_every_stream_of_ours_begins_with_the_prefix() -> None:
    names = StreamNames("team-a:")
    assert [names.events, names.replies, names.outcomes, names.dead_letters, names.commands("payment")] == [
        "team-a:events",
        "team-a:replies",
        "team-a:outcomes",
        "team-a:dead-letter",
        "team-a:commands:payment",
    ]
