"""The OpenAPI document: what FastAPI makes of the routes, with the meaning of every column as the schema in SQL has it.

A column is explained once, by its comment in Postgres, and every reader of the document finds that there.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
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
    "JobRow": "jobs",
    "JobItemRow": "job_items",
}
_COMMENT = re.compile(r"comment on column saga\.(\w+)\.(\w+) is\s+((?:'(?:[^']|'')*'\s*)+);")
_TEXT = re.compile(r"'((?:[^']|'')*)'")


LINKS = {
    ("/v1/sagas", "post"): {"target": "$response.body#/started/saga_id"},
    ("/v1/sagas", "get"): {"target": "$response.body#/items/0/id"},
    ("/v1/dead-letters", "get"): {"number": "$response.body#/items/0/id"},
    ("/v1/jobs", "post"): {"job": "$response.body#/id"},
    ("/v1/jobs", "get"): {"job": "$response.body#/items/0/id"},
}
"""The operations whose answer names something, and where it stands: every operation on such a thing is a link."""


SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `saga-service tokens make`, or an access token of the identity provider.",
    },
    "login": {
        "type": "apiKey",
        "in": "cookie",
        "name": "saga_session",
        "description": "The cookie of a person who has logged in at `/auth/login`; over TLS its name has a prefix.",
    },
}


def described(document: Json, *, has_rights: bool) -> Json:
    """The document with the columns explained, examples of bodies and answers, links, problems, and callers."""
    schemas = document["components"]["schemas"]
    if has_rights:
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        document["security"] = [{scheme: []} for scheme in SECURITY_SCHEMES]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}), Problem=problem)
    for name, example in examples().items():
        schemas[name]["examples"] = [example]
    for name, view in VIEW_OF_SCHEMA.items():
        for column, schema in schemas.get(name, {}).get("properties", {}).items():
            if text := comments_on_columns().get((view, column)):
                schema["description"] = text
    _link(document["paths"])
    return document


def _link(paths: Json) -> None:
    """Name in each answer of `LINKS` the operations that go on from it."""
    for (path, method), given in LINKS.items():
        links = {
            operation["operationId"]: {"operationId": operation["operationId"], "parameters": given}
            for other, operations in paths.items()
            if all(f"{{{name}}}" in other for name in given)
            for operation in operations.values()
        }
        for status, response in paths[path][method]["responses"].items():
            if status.startswith("2"):
                response["links"] = links


@cache
def examples() -> Json:
    """An example of each body and of each answer, by the name of its schema: recorded from the order of the demo."""
    found: Json = json.loads(files("saga_service.http").joinpath("examples.json").read_text())
    return found


@cache
def comments_on_columns() -> dict[tuple[str, str], str]:
    """The comments on the columns of the contract's views, by view and column."""
    found = {}
    for view, column, texts in _COMMENT.findall(read_sql("schema.sql")):
        found[view, column] = "".join(_TEXT.findall(texts)).replace("''", "'")
    return found
