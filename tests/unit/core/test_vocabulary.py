"""The vocabulary costs its importers nothing but `enum`, and its plain names are what they seem."""

from __future__ import annotations

import ast
from enum import StrEnum

import pytest

from saga_service.core import vocabulary
from saga_service.core.vocabulary import Due, SagaStatus
from tests.support.paths import ROOT

CORE = ROOT / "saga_service" / "core"
PREFIXES = {SagaStatus: "SAGA_", Due: "DUE_"}
PLAIN_NAMES = {name: member for name, member in vars(vocabulary).items() if isinstance(member, StrEnum)}


def _imported_by(module: str) -> set[str | None]:
    nodes = ast.walk(ast.parse((CORE / f"{module}.py").read_text(encoding="utf-8")))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom)} - {"__future__"}


def test_the_vocabulary_imports_enum_alone() -> None:
    assert _imported_by("vocabulary") == {"enum"}


def test_the_tables_stand_on_the_vocabulary_alone() -> None:
    assert _imported_by("transitions") == {"enum", "saga_service.core.vocabulary"}


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_a_plain_name_is_its_member_s(name: str) -> None:
    member = PLAIN_NAMES[name]
    assert name == PREFIXES.get(type(member), "") + member.name
