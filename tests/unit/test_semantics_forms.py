"""The sagas of the end-to-end tests, which have all that a saga can have, are the same in Python and in YAML."""

from __future__ import annotations

from saga_service.definitions import load_definitions
from tests.support.paths import ROOT

YAML = ROOT / "tests" / "end_to_end" / "semantics.yaml"


def _versions(source: str) -> dict[str, str]:
    return {spec.name: spec.version for spec in load_definitions([source]).specs()}


def test_all_semantics_are_the_same_in_python_and_in_yaml() -> None:
    written = _versions(str(YAML))
    assert len(written) > 10
    assert written == _versions("tests.end_to_end.semantics")
