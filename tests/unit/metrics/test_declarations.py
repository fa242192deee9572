"""Every metric is declared once, by Prometheus' conventions, and set somewhere."""

from __future__ import annotations

import ast
import re

import pytest

from saga_service.metrics import declarations
from saga_service.metrics.declarations import DECLARED, Kind, Metric, Scope
from saga_service.store.schema.migrate import read_sql
from tests.support.paths import ROOT

PACKAGE = ROOT / "saga_service"
CONSTANTS = {value: name for name, value in vars(declarations).items() if isinstance(value, Metric)}
BOUNDED_LABELS = {
    *("saga", "step", "direction", "outcome", "status", "stream", "group", "service", "command", "kind", "decision"),
    *("failure", "remedy", "source", "state", "method", "route", "version", "python"),
}
"""What a label may be: nothing of which there are ever more, as ids and keys are."""


def names_read(source: str) -> set[str]:
    """Every name that a module reads out of `declarations`."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "declarations"
    }


def test_every_metric_has_a_name_of_its_own() -> None:
    names = [metric.name for metric in DECLARED]
    assert sorted(names) == sorted(set(names))
    assert set(DECLARED) == set(CONSTANTS)


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions_of_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"saga_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mib|count|sum|bucket)(_|$)", metric.name)
    assert set(metric.labels) <= BOUNDED_LABELS
    assert bool(metric.bounds) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert metric.help.endswith(".") or metric.name == "saga_build_info"


def test_every_metric_is_set_somewhere() -> None:
    read = {
        name
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("declarations.py", "reference.py")
        for name in names_read(path.read_text())
    }
    of_postgres = set(re.findall(r"select '(saga_\w+)'", read_sql("schema.sql")))
    unset = {metric.name for metric, name in CONSTANTS.items() if name not in read and metric.name not in of_postgres}
    assert unset == set()


def test_the_gauges_of_postgres_are_declared_as_the_deployments() -> None:
    of_postgres = set(re.findall(r"select '(saga_\w+)'", read_sql("schema.sql")))
    assert of_postgres <= {metric.name for metric in DECLARED if metric.scope is Scope.DEPLOYMENT}
    assert len(of_postgres) > 10
