"""Entries that tell a saga something: which saga they speak of, and how a repeat is known."""

from __future__ import annotations

import pytest

from saga_service.core.definition import StepDefinition
from saga_service.core.events import BusinessKey, OperationRequested, Signalled
from saga_service.core.ids import saga_id_from_key
from saga_service.core.vocabulary import Task
from saga_service.wire.entries import Malformed
from saga_service.wire.events import read_event
from tests.support.builders import SAGA_ID, PlainBlueprint, PlainCatalog, definition, entry

APPROVAL = StepDefinition(name="approval", task=Task.SIGNAL, action="order.approved")
CATALOG = PlainCatalog(PlainBlueprint(definition("reserve", APPROVAL)))


def test_a_signal_by_the_sagas_id() -> None:
    fields = {"type": "order.approved", "saga_id": SAGA_ID, "id": "a-1", "data": '{"by":"Ann"}'}
    assert read_event(entry(fields), CATALOG) == Signalled(
        SAGA_ID, "order.approved", "a-1", {"by": "Ann"}, data_bytes=12
    )


def test_a_signal_by_the_business_key_of_the_only_saga_that_waits_for_it() -> None:
    event = read_event(entry({"type": "order.approved", "subject": "A-17", "id": "a-1"}), CATALOG)
    by_key = BusinessKey("order", "A-17")
    assert event == Signalled(saga_id_from_key("order", "A-17"), "order.approved", "a-1", {}, by_key)


class ByNumber(PlainBlueprint):
    def written_key(self, key: str) -> str:
        return key.lstrip("0")


@pytest.mark.parametrize("event_type", ["order.approved", "saga.cancel"])
def test_a_key_in_another_spelling_is_written_as_the_definition_writes_it(event_type: str) -> None:
    catalog = PlainCatalog(ByNumber(definition("reserve", APPROVAL)))
    event = read_event(entry({"type": event_type, "saga": "order", "subject": "0017"}), catalog)
    assert isinstance(event, Signalled | OperationRequested)
    assert (event.saga_id, event.by_key) == (saga_id_from_key("order", "17"), BusinessKey("order", "17"))


def test_a_signal_without_an_id_of_its_own_has_that_of_its_entry() -> None:
    event = read_event(entry({"type": "order.approved", "saga_id": SAGA_ID}, entry_id="17-3"), CATALOG)
    assert event == Signalled(SAGA_ID, "order.approved", "saga:events 17-3", {})


def test_a_signal_for_a_saga_that_is_not_deployed_here_is_read() -> None:
    event = read_event(entry({"type": "refund.approved", "saga": "refund", "subject": "R-1", "id": "x"}), CATALOG)
    by_key = BusinessKey("refund", "R-1")
    assert event == Signalled(saga_id_from_key("refund", "R-1"), "refund.approved", "x", {}, by_key)


def test_a_signal_that_names_no_saga_is_told_what_to_write() -> None:
    with pytest.raises(Malformed, match="write its id in field 'saga_id', or its key in 'subject'"):
        read_event(entry({"type": "order.approved"}), CATALOG)


def test_a_signal_that_several_sagas_wait_for_has_to_say_which() -> None:
    class Two(PlainCatalog):
        def waiting_for(self, signal: str) -> list[str]:
            return ["order", "refund"]

    with pytest.raises(Malformed, match=r"write which in field 'saga' \(order, refund\)"):
        read_event(entry({"type": "order.approved", "subject": "A-17"}), Two(PlainBlueprint(definition("reserve"))))


def test_a_signal_may_name_the_step_that_it_answers() -> None:
    event = read_event(entry({"type": "order.approved", "saga_id": SAGA_ID, "id": "a-1", "step": "second"}), CATALOG)
    assert event == Signalled(SAGA_ID, "order.approved", "a-1", {}, step="second")


def test_an_id_that_is_too_long_to_be_kept_is_refused() -> None:
    fields = {"type": "order.approved", "saga_id": SAGA_ID}
    assert isinstance(read_event(entry({**fields, "id": "a" * 500}), CATALOG), Signalled)
    with pytest.raises(Malformed, match="field 'id' has 501 characters, and a signal's id may have 500"):
        read_event(entry({**fields, "id": "a" * 501}), CATALOG)


def test_data_that_is_no_object_is_refused() -> None:
    with pytest.raises(Malformed, match="field 'data' must be a JSON object"):
        read_event(entry({"type": "order.approved", "saga_id": SAGA_ID, "data": "[1]"}), CATALOG)
