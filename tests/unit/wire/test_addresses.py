"""The saga that an unusable entry is about, whichever way the entry came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.ids import saga_id_from_entry, saga_id_from_event, saga_id_from_key
from saga_service.core.state import JsonObject
from saga_service.wire.addresses import named_saga
from saga_service.wire.dead_letters import NOBODY, NamedSaga
from saga_service.wire.encryption import encrypt_event_data
from saga_service.wire.entries import Entry
from saga_service.wire.transport import REQUESTS
from tests.support.builders import SAGA_ID, PlainBlueprint, PlainCatalog, approval, definition, entry
from tests.support.ciphers import OF_NEW

CATALOG = PlainCatalog(PlainBlueprint(definition("reserve", approval("wait")), integers=["amount"], key_field="order"))
UNKEYED = PlainCatalog(PlainBlueprint(definition("reserve"), integers=["amount"]))
COMMAND = f"{SAGA_ID}:reserve:action:1"
OF_KEY = NamedSaga(saga_id_from_key("order", "A-1"), "A-1")
MISFIT = '{"order": "A-1", "amount": "much"}'


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (entry({"type": "order", "data": MISFIT}), OF_KEY),
        (entry({"type": "order", "subject": "A-1", "data": "{"}), OF_KEY),
        (entry({"type": "order", "data": MISFIT, "saga_id": SAGA_ID}, REQUESTS), NamedSaga(SAGA_ID, "A-1")),
        (entry({"order": "A-1", "amount": "much", "saga_id": SAGA_ID}, "orders"), OF_KEY),
        (entry({"type": "saga.child.start", "command_id": COMMAND}), NamedSaga(SAGA_ID)),
        (entry({"type": "saga.cancel", "saga": "order", "subject": "A-1"}), OF_KEY),
        (entry({"type": "approved", "subject": "A-1", "data": "{"}), OF_KEY),
        (entry({"type": "approved", "saga_id": SAGA_ID, "data": "{"}), NamedSaga(SAGA_ID)),
        (entry({"type": "unheard-of", "subject": "A-1"}), NamedSaga(None, "A-1")),
        (entry({"command_id": COMMAND, "outcome": "maybe"}, "saga:replies"), NamedSaga(SAGA_ID)),
        (entry({"type": "order", "subject": "A" * 501, "saga_id": "none"}, entry_id="x"), NOBODY),
        (entry({}), NOBODY),
    ],
)
def test_an_entry_names_its_saga_as_far_as_it_can_be_told(sent: Entry, named: NamedSaga) -> None:
    assert named_saga(sent, CATALOG) == named


def test_a_start_without_a_key_is_named_by_its_event_or_its_entry() -> None:
    by_event, by_entry = {"type": "order", "id": "e-1", "data": MISFIT}, {"type": "order", "data": MISFIT}
    assert named_saga(entry(by_event), UNKEYED) == NamedSaga(saga_id_from_event("order", "e-1"))
    of_entry = saga_id_from_entry("order", "saga:events", "1700-0")
    assert named_saga(entry(by_entry), UNKEYED) == NamedSaga(of_entry)


class KeyedByDefault(PlainBlueprint):
    """Starts without the key's field have the key 17."""

    def sent_key(self, data: JsonObject) -> str | None:
        return super().sent_key(data) or "17"


@pytest.mark.parametrize(
    "sent",
    [
        entry({"type": "order", "data": "{"}),
        entry({"type": "order", "data": '{"order": 1, "order": 2}'}),
        entry({"type": "order", "data": encrypt_event_data(OF_NEW, "order", {"order": "A-1"})}),
        entry({"order": b"\xff", "amount": "1"}, "orders"),
    ],
)
def test_data_that_cannot_be_read_is_not_taken_for_that_of_the_saga_with_the_default_key(sent: Entry) -> None:
    catalog = PlainCatalog(KeyedByDefault(definition("reserve"), key_field="order"))
    named = named_saga(sent, catalog)
    assert (named.key, named.saga_id == saga_id_from_key("order", "17")) == (None, False)


def test_a_start_by_sql_whose_data_cannot_be_read_is_named_by_the_key_that_gave_it_its_id() -> None:
    sent = entry({"type": "order", "data": "{", "key": "A-1", "saga_id": OF_KEY.saga_id or ""}, REQUESTS)
    assert named_saga(sent, CATALOG) == OF_KEY


def test_encrypted_data_is_named_by_those_who_can_read_it() -> None:
    data = encrypt_event_data(OF_NEW, "order", {"order": "A-1", "amount": "much"})
    sent = entry({"type": "order", "data": data})
    assert named_saga(sent, CATALOG, OF_NEW) == OF_KEY
    assert named_saga(sent, CATALOG).key is None


@given(st.dictionaries(st.binary(max_size=8) | st.sampled_from([b"type", b"data", b"subject"]), st.binary(max_size=20)))
def test_no_entry_is_too_odd_to_be_looked_at(fields: dict[bytes, bytes]) -> None:
    for stream in ("saga:events", "orders", "saga:replies", REQUESTS):
        assert isinstance(named_saga(Entry(stream, "1-1", fields), CATALOG), NamedSaga)
