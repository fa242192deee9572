"""docs/definitions.md: its examples load, say the same in both forms, and leave out no word."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from saga_service.definitions import Catalog, Retry, Saga, Step, load_definitions
from saga_service.definitions.expressions.cost import EVALUATION_VALUES_MAX
from saga_service.definitions.expressions.references import FUNCTIONS
from saga_service.definitions.keywords import KEYWORDS_OF
from saga_service.definitions.schema.json_schema import PATTERN_BACKTRACKS_MAX
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "definitions.md").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def in_yaml(directory: Path) -> Catalog:
    (directory / "page.yaml").write_text("---\n".join(examples("yaml")))
    return load_definitions(["page.yaml"])


@pytest.fixture
def in_python(directory: Path, module: str) -> Catalog:
    (directory / f"{module}.py").write_text("\n".join(examples("python")))
    return load_definitions([module])


def test_the_page_has_an_example_of_each_kind_of_saga_in_both_forms(in_yaml: Catalog, in_python: Catalog) -> None:
    names = ["parcel", "delivery", "trip", "transfer", "trial", "payment", "purchase", "order", "shipment"]
    assert [spec.name for spec in in_yaml.specs()] == names
    assert in_yaml.documents() == in_python.documents()
    assert in_yaml.definitions() == in_python.definitions()


def test_every_keyword_is_on_the_page() -> None:
    keywords = {part.name for authored in (Saga, Step, Retry) for part in fields(authored)}
    assert {keyword for keyword in keywords if f"| `{keyword}` |" not in PAGE} == set()
    assert frozenset[str]().union(*KEYWORDS_OF.values()) == {part.name for part in fields(Step)}


def test_every_function_is_on_the_page() -> None:
    named = {name for name in FUNCTIONS if not name.startswith("get")}
    assert {name for name in named if f"`{name}`" not in PAGE} == set()


def test_the_limit_of_an_evaluation_is_on_the_page() -> None:
    assert f"at most {EVALUATION_VALUES_MAX:,} values" in PAGE
    assert f"may take {PATTERN_BACKTRACKS_MAX:,} steps back" in PAGE
