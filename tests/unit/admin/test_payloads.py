"""Payloads as readers see them: hidden as a whole, redacted by field, and never taken for the value."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from saga_service.admin import job_preview, jobs, views
from saga_service.admin.payloads import EVERYTHING, PayloadMark, PayloadView, RedactedFields
from saga_service.admin.views import DeadLetterRow, SignalRow
from saga_service.settings.roles import Role

HIDDEN = "[hidden: needs operator]"
FOR_VIEWERS = PayloadView(needs=Role.OPERATOR)


def redacting(*patterns: str) -> PayloadView:
    return PayloadView(redacted=RedactedFields(patterns))


def signal(data: object) -> SignalRow:
    return SignalRow(1, "approved", "s-1", None, True, data)


class Page(BaseModel):
    items: list[SignalRow]
    by_name: dict[str, SignalRow]
    total: int


def test_a_payload_is_hidden_however_deep_it_is_and_all_else_is_shown() -> None:
    page = Page(items=[signal({"iban": "DE1"})], by_name={"a": signal({"iban": "DE2"})}, total=1)
    shown = FOR_VIEWERS.shown(page)
    assert (shown.items, shown.by_name, shown.total) == ([signal(HIDDEN)], {"a": signal(HIDDEN)}, 1)
    assert page.items == [signal({"iban": "DE1"})], "what is shown is a copy"


def test_whoever_sees_everything_gets_the_value_itself_and_null_stays_null() -> None:
    page = Page(items=[signal(None)], by_name={}, total=0)
    assert EVERYTHING.shown(page) is page
    assert FOR_VIEWERS.shown(page) == page


@pytest.mark.parametrize(
    ("pattern", "redacted"),
    [
        ("iban", {"iban": "x", "customer": {"IBAN": "x", "name": 1}, "all": [{"iban": "x"}]}),
        ("customer.iban", {"iban": 1, "customer": {"IBAN": "x", "name": 1}, "all": [{"iban": 1}]}),
        ("*.iban", {"iban": 1, "customer": {"IBAN": "x", "name": 1}, "all": [{"iban": "x"}]}),
        ("customer", {"iban": 1, "customer": "x", "all": [{"iban": 1}]}),
        ("ib", {"iban": 1, "customer": {"IBAN": 1, "name": 1}, "all": [{"iban": 1}]}),
    ],
)
def test_a_pattern_is_the_end_of_a_fields_path(pattern: str, redacted: object) -> None:
    data = {"iban": 1, "customer": {"IBAN": 1, "name": 1}, "all": [{"iban": 1}]}
    shown = redacting(pattern).shown(signal(data)).data
    assert orjson.loads(orjson.dumps(shown).replace(b'"[redacted]"', b'"x"')) == redacted


NAMES = st.sampled_from(["a", "b", "card", "Card", "iban"])
TREES = st.recursive(
    st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def filled(tree: Any, *, is_secret: bool = False) -> Any:
    """The tree with a secret in the place of every leaf below a `card`, and with another text elsewhere."""
    if isinstance(tree, dict):
        return {name: filled(each, is_secret=is_secret or name.lower() == "card") for name, each in tree.items()}
    if isinstance(tree, list):
        return [filled(each, is_secret=is_secret) for each in tree]
    return "secret" if is_secret else "open"


@given(tree=TREES)
def test_whatever_is_below_a_redacted_name_is_shown_nowhere_and_all_else_is(tree: Any) -> None:
    data = filled({"root": tree})
    shown = str(redacting("card").shown(signal(data)).data)
    assert "secret" not in shown
    assert shown.count("open") == str(data).count("open")
    as_entry = redacting("card").shown(letter("x", {"data": orjson.dumps(data).decode()})).fields
    assert "secret" not in str(as_entry)


def letter(reason: str, entry: dict[str, str]) -> DeadLetterRow:
    return DeadLetterRow(1, "saga:events", "1-0", reason, datetime.now(UTC), None, None, entry, None)


def test_the_fields_of_an_entry_are_redacted_within_their_json_and_where_they_are_none() -> None:
    shown = redacting("iban").shown(
        letter(
            "data: 'iban' must be a string, but is 4711",
            {"data": '{"iban":4711,"amount":5}', "iban": "4711", "type": "order", "half": '{"iban": 47', "x": "5"},
        )
    )
    assert shown.reason == "[redacted]"
    assert shown.fields == {
        "data": '{"iban":"[redacted]","amount":5}',
        "iban": "[redacted]",
        "type": "order",
        "half": "[redacted]",
        "x": "5",
    }
    assert FOR_VIEWERS.shown(letter("4711", {"data": "4711"})).fields == HIDDEN


COLUMNS_WITH_PAYLOADS = {
    "SagaSummary": {"error_message", "stuck_message"},
    "SagaRow": {"input", "error_message", "stuck_message"},
    "StepRow": {"output", "error_message"},
    "HistoryRow": {"error_message"},
    "SignalRow": {"data"},
    "DebtRow": {"error_message"},
    "DeadLetterRow": {"reason", "fields"},
    "PreviewedLetter": {"reason"},
    "JobItemRow": {"reason"},
}
HARMLESS = {
    "DefinitionRow.document": "what the author deployed",
    "ProcessRow.reads": "names of streams",
    "ProcessRow.services": "names of services",
    "ProcessRow.definitions": "names and versions",
    "JobRow.filters": "what an operator chose by",
}


def test_every_column_that_can_hold_a_payload_is_marked() -> None:
    """A new column of JSON or of a message is either marked, or named here as one that holds none."""
    rows = {
        each
        for module in (views, jobs, job_preview)
        for each in vars(module).values()
        if isinstance(each, type) and is_dataclass(each) and each.__module__ == module.__name__
    }
    marked: dict[str, set[str]] = {}
    unmarked = set()
    for row in rows:
        hints = get_type_hints(row, include_extras=True)
        for field in fields(row):
            metadata = getattr(hints[field.name], "__metadata__", ())
            if any(isinstance(each, PayloadMark) for each in metadata):
                marked.setdefault(row.__name__, set()).add(field.name)
            elif hints[field.name] is Any or field.name.endswith("message"):
                unmarked.add(f"{row.__name__}.{field.name}")
    assert marked == COLUMNS_WITH_PAYLOADS
    assert unmarked == HARMLESS.keys()


def test_json_in_a_text_of_a_payload_is_redacted_as_if_it_stood_there_itself() -> None:
    within = orjson.dumps({"iban": "DE1", "n": 1}).decode()
    data = {"customer": within, "raw": [f" {within}"], "told": "the iban", "kept": '{ "n": 10000000000000000000000 }'}
    shown = redacting("customer.iban").shown(signal(data)).data
    assert shown == data | {"customer": '{"iban":"[redacted]","n":1}'}
    twice = {"outer": orjson.dumps({"inner": within}).decode()}
    assert "DE1" not in orjson.dumps(redacting("iban").shown(signal(twice)).data).decode()


def test_an_entry_that_is_nested_beyond_all_measure_is_redacted_and_hides_no_other() -> None:
    deep = "[" * 1_000 + '{"iban": "DE1"}' + "]" * 1_000
    shown = redacting("iban").payload({"data": deep, "id": "1-0"}, PayloadMark.ENTRY)
    assert "DE1" not in shown["data"]
    assert shown["id"] == "1-0"
