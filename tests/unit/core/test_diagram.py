"""The document of the state machine is the tables'. That the tables are what happens: `property/test_drawn_moves`."""

from __future__ import annotations

from saga_service.core.diagram import state_diagram
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "state-machine.md"


def test_the_document_is_what_the_tables_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == state_diagram(), (
        "docs/state-machine.md is stale; run: python -m saga_service.core.diagram > docs/state-machine.md"
    )


def test_every_status_is_drawn() -> None:
    text = state_diagram()
    for status in ("pending", "compensation_failed", "running", "stuck"):
        assert f"{status} --> " in text
