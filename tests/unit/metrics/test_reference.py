"""docs/metrics.md has every metric, as it is declared."""

from __future__ import annotations

import re
from pathlib import Path

from saga_service.metrics.declarations import DECLARED
from saga_service.metrics.reference import main, metrics_reference, tables_in
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "metrics.md"


def test_the_page_is_the_one_that_the_declarations_make() -> None:
    assert tables_in(PAGE.read_text()) == metrics_reference(), "run: make docs"


def test_every_metric_is_in_one_table() -> None:
    rows = re.findall(r"^\| `(saga_\w+)` \|", metrics_reference(), re.MULTILINE)
    assert sorted(rows) == sorted(metric.name for metric in DECLARED)


def test_every_metric_that_the_page_speaks_of_is_declared() -> None:
    spoken_of = set(re.findall(r"\bsaga_[a-z_]+_(?:total|seconds|rows|waiting|debt)\b", PAGE.read_text()))
    names = {metric.name for metric in DECLARED}
    assert spoken_of <= names
    assert {"saga_ends_total", "saga_oldest_debt_timestamp_seconds"} <= spoken_of


def test_what_stands_around_the_tables_stays(tmp_path: Path) -> None:
    page = tmp_path / "metrics.md"
    page.write_text("# Head\n<!-- made by: make docs -->\nold\n<!-- end -->\nfoot\n")
    main(page)
    assert page.read_text().startswith("# Head\n<!-- made by: make docs -->\n### ")
    assert page.read_text().endswith("<!-- end -->\nfoot\n")
