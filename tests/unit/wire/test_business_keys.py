"""Business keys: one text for one key, in whatever spelling it was sent."""

from __future__ import annotations

import pytest

from saga_service.wire.business_keys import KeyForm, key_text, written_key

UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
TEXT, INTEGER = KeyForm.TEXT, KeyForm.INTEGER


@pytest.mark.parametrize(
    "spelling", [UUID, UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}", UUID.title()]
)
def test_a_uuid_in_any_spelling_is_one_key(spelling: str) -> None:
    assert key_text(KeyForm.UUID, spelling) == UUID


@pytest.mark.parametrize("spelling", [7, 7.0, "7", "007", "+7", "7.0", "7."])
def test_a_whole_number_in_any_spelling_is_one_key(spelling: object) -> None:
    assert key_text(INTEGER, spelling) == "7"


@pytest.mark.parametrize("text", ["007", "A-17", " 7 ", "", "7.50", UUID.upper(), "٣", "1_000"])
def test_a_text_of_no_such_type_is_itself(text: str) -> None:
    assert key_text(TEXT, text) == text
    assert written_key(INTEGER, text) == ("7" if text == "007" else text)


@pytest.mark.parametrize("value", [None, True, 1.5, 2.0**53, 2**64, -(2**63) - 1, [], {}, float("inf"), float("nan")])
def test_what_is_neither_text_nor_a_whole_number_is_no_key(value: object) -> None:
    assert all(key_text(form, value) is None for form in KeyForm)


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 0, -0.0, 5.0])
def test_a_whole_number_is_its_shortest_text(number: float) -> None:
    assert key_text(TEXT, number) == str(int(number))
