"""An entry in the form that Redis gives, and a message in the form that Redis takes."""

from __future__ import annotations

from saga_service.wire.entries import WIRE_VERSION, Entry, Message, entry_of, message_of


def test_an_entry_has_its_fields_and_the_bytes_of_all_names_and_values() -> None:
    entry = entry_of("orders", "1-0", [b"a", b"12345", "größe".encode(), b"", b"", b"\xff"])
    assert entry == Entry("orders", "1-0", {b"a": b"12345", "größe".encode(): b"", b"": b"\xff"})
    assert list(entry.pairs()) == [(b"a", b"12345"), ("größe".encode(), b""), (b"", b"\xff")]
    assert entry.size_bytes == 6 + 7 + 1


def test_a_name_that_comes_twice_is_read_as_its_last_value_and_loses_none() -> None:
    entry = entry_of("orders", "1-0", [b"a", b"1", b"b", b"2", b"a", b"345"])
    assert entry.fields == {b"a": b"345", b"b": b"2"}
    assert list(entry.pairs()) == [(b"a", b"1"), (b"b", b"2"), (b"a", b"345")]
    assert entry.size_bytes == 2 + 2 + 4


def test_a_message_has_the_version_and_its_fields_in_order() -> None:
    message = message_of("orders", type="order", stream="other", subject="")
    assert message == Message("orders", ("v", WIRE_VERSION, "type", "order", "stream", "other", "subject", ""))


def test_a_message_leaves_out_fields_without_a_value() -> None:
    assert message_of("orders", id=None, data="{}", subject=None).fields == ("v", WIRE_VERSION, "data", "{}")
