"""The table of error codes is whole, and the core gives no code that it lacks."""

from __future__ import annotations

import ast
from pathlib import Path
from random import Random

import pytest

from saga_service.core import fault_codes
from saga_service.core.fault_codes import FAULT_CODES
from tests.property.walks import AUTHORS_CODES, walk
from tests.support.paths import ROOT

DECLARED = {value for name, value in vars(fault_codes).items() if name.isupper() and isinstance(value, str)}
CORE = sorted((ROOT / "saga_service" / "core").glob("*.py"))


def test_every_declared_code_has_its_meaning() -> None:
    assert set(FAULT_CODES) == DECLARED
    for meaning in FAULT_CODES.values():
        assert meaning.endswith("."), "a sentence"


@pytest.mark.parametrize("module", CORE, ids=lambda path: path.stem)
def test_the_core_makes_no_fault_of_a_code_written_in_place(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Fault"]
    assert [call for call in calls if isinstance(call.args[0], ast.Constant)] == []


def test_every_code_in_any_history_is_in_the_table() -> None:
    random = Random(4)
    codes = {line.fault.code for _ in range(300) for line in walk(random) if line.fault is not None}
    assert codes - AUTHORS_CODES <= set(FAULT_CODES)
    assert {"timeout", "deadline", "expression_failed", "resolved"} <= codes
