"""What a worker imports, and that no limit of it is written twice."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SERVICE_ONLY = {
    "saga_service.app",
    "saga_service.cli",
    "saga_service.definitions",
    "saga_service.engine",
    "saga_service.local",
    "saga_service.runtime",
    "saga_service.settings",
    "saga_service.startup",
    "saga_service.store",
    "saga_service.telemetry",
}
# Not rich: structlog imports it wherever it is installed.
LIBRARIES_OF_THE_SERVICE = {
    "alembic",
    "cel",
    "jsonschema_rs",
    "pydantic_settings",
    "sqlalchemy",
    "typer",
    "uvloop",
    "yaml",
}
CLIENTS = {"asyncpg", "redis"}
PACKAGE = ROOT / "saga_service"


def imported_by(code: str) -> set[str]:
    """All modules in a fresh interpreter that has run the code, and the folders and packages that they are in."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = [name.split(".") for name in found.stdout.split()]
    return {".".join(parts[:count]) for parts in names for count in (1, 2)}


@pytest.mark.parametrize(
    ("code", "clients"),
    [
        ("import saga_service.worker", set()),
        ("from saga_service import Rejected, Retryable, StepContext, Worker", set()),
        ("from saga_service.worker import PostgresInbox", {"asyncpg"}),
        ("from saga_service.worker import run_workers", {"asyncpg", "redis"}),
    ],
    ids=["the package", "what handlers need", "an inbox", "a run"],
)
def test_a_worker_imports_nothing_of_what_only_the_service_needs(code: str, clients: set[str]) -> None:
    imported = imported_by(code)
    assert imported & (SERVICE_ONLY | LIBRARIES_OF_THE_SERVICE) == set()
    assert imported & CLIENTS == clients


def limits_in(*folders: str) -> Counter[str]:
    """How often each name of a public limit is given a number, in all files of these folders."""
    files = [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*.py"))]
    return Counter(name for path in files for name in _numbers_of(path))


def _numbers_of(path: Path) -> list[str]:
    return [
        target.id
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_")
        if isinstance(node.value.value, int | float)
    ]


def test_no_limit_of_a_worker_is_written_twice() -> None:
    assert [name for name, count in limits_in("base", "wire", "worker", "testing").items() if count > 1] == []
