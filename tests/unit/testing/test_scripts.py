"""The test kit: scripts of replies."""

from __future__ import annotations

from typing import cast

import pytest
from pydantic import BaseModel

from saga_service.core.ids import CommandId, SagaId
from saga_service.testing import Script
from saga_service.testing.scripts import Reply, SentCommand, plain

COMMAND = SentCommand("saga:replies", CommandId("c"), SagaId("s"), dict)


def taken(script: Script, count: int) -> list[Reply | None]:
    return [script.take() for _ in range(count)]


def written(reply: Reply | None) -> str:
    assert reply is not None, "the script is at its end"
    assert reply.write is not None, "a handler would answer"
    return " ".join(reply.write(COMMAND).fields[6:])


def test_replies_are_given_in_their_order_and_then_no_more() -> None:
    first, second, third, end = taken(Script().fails("busy", "later").rejects("no").succeeds({"a": 1}), 4)
    assert written(first) == 'outcome failed error {"code":"busy","message":"later"}'
    assert written(second) == 'outcome rejected error {"code":"no","message":"as the test has it"}'
    assert written(third) == 'outcome succeeded data {"a":1}'
    assert end is None


def test_a_worker_may_leave_it_unknown() -> None:
    (reply,) = taken(Script().leaves_unknown("no_answer", retry_after="3s"), 1)
    assert written(reply) == (
        'outcome unknown error {"code":"no_answer","message":"as the test has it","retry_after_ms":3000}'
    )


def test_a_change_is_of_the_latest_reply_alone() -> None:
    first, second, third = taken(
        Script().fails().after("3s").twice().succeeds().reply_lost().times_out().heartbeats("500ms"), 3
    )
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.after_ms, first.deliveries, first.arrives) == (3_000, 2, True)
    assert (second.after_ms, second.deliveries, second.arrives) == (None, 1, False)
    assert (third.arrives, third.heartbeat_ms) == (False, 500)


def test_a_reply_is_given_several_times_or_always() -> None:
    script = Script().fails("a").times(3).fails("b").always()
    codes = [written(reply).split('"')[3] for reply in taken(script, 6)]
    assert codes == ["a", "a", "a", "b", "b", "b"]


def test_after_always_there_is_nothing_to_add() -> None:
    with pytest.raises(ValueError, match="by 'always'"):
        Script().fails().always().succeeds()


def test_a_change_needs_a_reply() -> None:
    for operation in (Script.twice, Script.reply_lost, Script.always):
        with pytest.raises(ValueError, match="say first what the reply is"):
            operation(Script())


def test_impossible_replies_are_refused() -> None:
    with pytest.raises(ValueError, match="at least once, not 0 times"):
        Script().fails().times(0)
    with pytest.raises(ValueError, match="not every 0s"):
        Script().succeeds().heartbeats(0)
    with pytest.raises(ValueError, match=r"by context\.progress"):
        Script().handled().heartbeats("1s")
    with pytest.raises(ValueError, match="must be a duration, but is 'soon'"):
        Script().fails().after("soon")


def test_data_is_what_becomes_a_json_object() -> None:
    class Receipt(BaseModel):
        number: int

    assert plain(Receipt(number=1)) == {"number": 1}
    assert plain(None) == {}
    with pytest.raises(TypeError, match="is of type list"):
        plain(cast("dict[str, int]", [1]))
    with pytest.raises(TypeError):
        plain({"too large for JSON": 2**70})
