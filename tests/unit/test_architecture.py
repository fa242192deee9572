"""ARCHITECTURE.md is held to the code: its drawing is made from the imports, and every file that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.package_map import drawing_in, package_map
from tests.support.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMED_FILE = re.compile(r"`((?:saga_service|tests|docs|deploy|[a-z_]+)/[\w./-]+\.(?:py|sql|md|yaml|lua))`")
EXAMPLES = {"store/workers.py", "shop/sagas.py"}
"""Files of a reader's own project, in examples."""


def test_the_drawing_of_the_package_is_the_one_that_the_imports_make() -> None:
    assert drawing_in((ROOT / "ARCHITECTURE.md").read_text()) == package_map(), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = set(NAMED_FILE.findall(page.read_text())) - EXAMPLES
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "saga_service" / name).exists()]
    assert missing == []
