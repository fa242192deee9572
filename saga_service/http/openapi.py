"""The OpenAPI document: what FastAPI makes of the routes, with the meaning of every column as the schema in SQL has it.

A column is explained once, by its comment in Postgres, and every reader of the document finds that there.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from saga_service.http.problem_details import Problem
from saga_service.store.schema.migrate import read_sql

Json = dict[str, Any]  # Any: an OpenAPI document

VIEW_OF_SCHEMA = {
    "SagaRow": "sagas",
    "StepRow": "steps",
    "HistoryRow": "history",
    "SignalRow": "signals",
    "DebtRow": "compensation_debt",
    "DefinitionRow": "definitions",
    "DeadLetterRow": "dead_letters",
    "ProcessRow": "processes",
}
_COMMENT = re.compile(r"comment on column saga\.(\w+)\.(\w+) is\s+((?:'(?:[^']|'')*'\s*)+);")
_TEXT = re.compile(r"'((?:[^']|'')*)'")


def described(document: Json) -> Json:
    """The document with the columns explained, and with the form of problems."""
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, view in VIEW_OF_SCHEMA.items():
        for column, schema in schemas.get(name, {}).get("properties", {}).items():
            if text := comments_on_columns().get((view, column)):
                schema["description"] = text
    return document


@cache
def comments_on_columns() -> dict[tuple[str, str], str]:
    """The comments on the columns of the contract's views, by view and column."""
    found = {}
    for view, column, texts in _COMMENT.findall(read_sql("schema.sql")):
        found[view, column] = "".join(_TEXT.findall(texts)).replace("''", "'")
    return found
