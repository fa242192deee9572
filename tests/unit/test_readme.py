"""The README's sagas in YAML are right as they stand there, and the first is the one that it shows in Python."""

from __future__ import annotations

import re
from pathlib import Path

from saga_service.definitions import Catalog, load_definitions
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def shown(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def in_yaml(directory: Path, number: int) -> Catalog:
    (directory / "shown.yaml").write_text(shown("yaml")[number])
    return load_definitions(["shown.yaml"])


def test_the_first_saga_is_the_same_in_both_forms(directory: Path, module: str) -> None:
    (directory / f"{module}.py").write_text(shown("python")[0])
    (in_python,) = load_definitions([module]).specs()
    (written,) = in_yaml(directory, 0).specs()
    # Their schemas differ by the titles that pydantic writes, and so their versions do.
    assert written.definition.steps == in_python.definition.steps
    assert (written.name, written.key, written.event_types) == (in_python.name, in_python.key, in_python.event_types)
    order = {"order_id": "A-1", "amount": 30}
    assert written.read_input(order) == in_python.read_input(order)


def test_the_saga_with_everything_loads_with_the_child_that_it_names(directory: Path) -> None:
    assert [spec.name for spec in in_yaml(directory, 1).specs()] == ["order", "shipment"]
