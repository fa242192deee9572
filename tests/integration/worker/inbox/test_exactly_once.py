"""What is delivered again, late or in the wrong order has its effect exactly once, or not at all."""

from __future__ import annotations

from saga_service.core.vocabulary import Outcome
from saga_service.wire.commands import read_command
from saga_service.worker import (
    Rejected,
    Retryable,
    StepContext,
)
from saga_service.worker.execution import execute
from tests.support.inbox import ACTION, FIND, PROBE, REPLY_BYTES_MAX, UNDO, Payment, fault_code, output
from tests.support.workers import command_entry, understood


async def test_a_redelivery_and_a_later_attempt_get_the_recorded_result(payment: Payment) -> None:
    assert [output(await payment.deliver(attempt=attempt)) for attempt in (1, 1, 2, 1, 3)] == [{"by": 1}] * 5
    assert payment.calls == [("action", 1)]
    assert await payment.effects() == ["action"]


async def test_a_retryable_failure_is_not_recorded_and_is_retried(payment: Payment) -> None:
    async def fails_first(context: StepContext) -> None:
        if context.attempt == 1:
            raise Retryable("busy")

    payment.inside = fails_first
    assert fault_code(await payment.deliver()) == (Outcome.FAILED, "busy")
    assert output(await payment.deliver(attempt=2)) == {"by": 2}


async def test_a_rejection_is_repeated_and_a_persons_new_attempt_is_carried_out(payment: Payment) -> None:
    async def rejects_first(context: StepContext) -> None:
        if context.attempt == 1:
            raise Rejected("no_funds", "not enough")

    payment.inside = rejects_first
    for _ in range(2):
        assert fault_code(await payment.deliver()) == (Outcome.REJECTED, "no_funds")
    assert payment.calls == [("action", 1)], "the redelivery was answered from the record"
    assert output(await payment.deliver(attempt=2)) == {"by": 2}


async def test_an_undo_of_what_never_began_is_a_no_op_and_a_tombstone(payment: Payment) -> None:
    assert output(await payment.deliver(UNDO)) == {}
    assert fault_code(await payment.deliver()) == (Outcome.REJECTED, "undone_before_done")
    assert output(await payment.deliver(UNDO, 2)) == {}
    assert (payment.calls, await payment.effects()) == ([], [])


async def test_an_undo_of_what_was_done_is_carried_out_once(payment: Payment) -> None:
    await payment.deliver()
    assert [output(await payment.deliver(UNDO, attempt)) for attempt in (1, 1, 2)] == [{"by": 1}] * 3
    assert await payment.effects() == ["action", "compensation"]


async def test_an_action_that_only_the_saga_knows_of_is_undone(payment: Payment) -> None:
    done_before_there_was_an_inbox = {"charge": {"payment_id": "p-1"}}
    assert output(await payment.deliver(UNDO, outputs=done_before_there_was_an_inbox)) == {"by": 1}
    assert payment.calls == [("compensation", 1)]
    assert fault_code(await payment.deliver()) == (Outcome.REJECTED, "undone_before_done")


async def test_a_probe_is_answered_with_what_is_on_record(payment: Payment) -> None:
    await payment.deliver()
    assert output(await payment.deliver(PROBE)) == {"by": 1}
    assert payment.calls == [("action", 1)]


async def test_a_probe_that_says_no_keeps_what_was_sent_before_it_from_beginning(payment: Payment) -> None:
    assert fault_code(await payment.deliver(PROBE, deadline_in_ms=60_000)) == (Outcome.REJECTED, "did_not_happen")
    assert fault_code(await payment.deliver(deadline_in_ms=50_000)) == (Outcome.FAILED, "fenced_by_probe")
    assert payment.calls == []
    assert output(await payment.deliver(attempt=2, deadline_in_ms=70_000)) == {"by": 2}


async def test_the_type_that_answers_probes_does_nothing_else(payment: Payment) -> None:
    received = read_command(command_entry(1, command_type=FIND))
    reply = await execute(
        payment.worker.handlers[FIND], received, StepContext(received, lambda _: None), REPLY_BYTES_MAX
    )
    assert reply is not None
    assert fault_code(understood(reply)) == (Outcome.REJECTED, "not_a_probe")


async def test_an_observer_hears_of_each_answer_that_the_inbox_gives_in_a_handlers_place(
    payment: Payment,
) -> None:
    answers: list[str] = []
    payment.observe(answers.append)
    await payment.deliver(ACTION)
    await payment.deliver(ACTION)
    await payment.deliver(PROBE)
    assert answers == ["repeat", "repeat"]
