"""The OpenAPI document says everything that a stranger needs, once."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest
from jsonschema_rs import validator_for

from saga_service.admin import jobs, views
from saga_service.http.application import make_application
from saga_service.http.openapi import VIEW_OF_SCHEMA
from saga_service.settings import Settings

DOCUMENT = make_application(Settings()).openapi()
OPERATIONS = [
    (f"{method} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def test_it_is_of_a_version_that_is_json_schema() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_has_a_summary_and_explains_its_parameters_and_its_problems(
    name: str, operation: dict[str, object]
) -> None:
    assert operation["summary"]
    parameters = operation.get("parameters", [])
    assert isinstance(parameters, list)
    assert [each["name"] for each in parameters if not each.get("description")] == []
    responses = operation["responses"]
    assert isinstance(responses, dict)
    assert responses["default"]["content"]["application/problem+json"]


@pytest.mark.parametrize("schema", VIEW_OF_SCHEMA)
def test_every_column_is_explained_as_the_view_explains_it(schema: str) -> None:
    properties = DOCUMENT["components"]["schemas"][schema]["properties"]
    row = getattr(views, schema, None) or getattr(jobs, schema)
    assert properties.keys() == {field.name for field in fields(row)}
    assert [name for name, each in properties.items() if not each.get("description")] == []


NAMED = {
    reference.removeprefix("#/components/schemas/")
    for _, operation in OPERATIONS
    for reference in re.findall(r"#/components/schemas/\w+", json.dumps(operation))
    if "enum" not in DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_body_and_every_answer_has_an_example_that_fits(name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    [example] = DOCUMENT["components"]["schemas"][name]["examples"]
    validator_for(schema).validate(example)


def test_an_answer_leads_to_what_can_be_done_next() -> None:
    links = DOCUMENT["paths"]["/v1/sagas"]["post"]["responses"]["202"]["links"]
    known = {operation["operationId"] for _, operation in OPERATIONS}
    assert links.keys() <= known
    assert {name.split("_")[0] for name in links} >= {"get", "operate", "signal"}
