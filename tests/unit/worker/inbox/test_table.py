"""The inbox's SQL knows the marks, and the columns, that the code knows."""

from __future__ import annotations

import re

from saga_service.worker.inbox.deduplication import Mark
from saga_service.worker.inbox.exactly_once import TAKE, TAKE_IN_TRANSACTION, WRITE, creation_script

SCRIPT = creation_script()


def test_the_table_allows_the_marks_of_the_code_and_no_others() -> None:
    checks = re.findall(r"check \((\w+) in \((.*?)\)\)", SCRIPT)
    assert {column for column, _ in checks} == {"action_mark", "undo_mark"}
    for _, marks in checks:
        assert re.findall(r"'(\w+)'", marks) == [mark.value for mark in Mark]


def test_statements_read_and_write_the_columns_that_the_table_has() -> None:
    columns = set(re.findall(r"^    (\w+) +(?:uuid|text|integer|json|bigint|timestamptz)\b", SCRIPT, re.MULTILINE))
    written = columns - {"saga_id", "step", "version", "created_at"}
    assert len(columns) == 11
    for statement in (TAKE, TAKE_IN_TRANSACTION, WRITE):
        assert {column for column in written if re.search(rf"\b{column}\b", statement)} == written


def test_everything_is_created_only_where_it_is_missing() -> None:
    assert re.findall(r"create (\w+) (?!if not exists)", SCRIPT) == []
