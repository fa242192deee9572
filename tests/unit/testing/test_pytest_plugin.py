"""The test kit: what a test that fails shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = 'pytest_plugins = ["saga_service.testing.pytest_plugin"]\n'
TESTS = """
import pytest
from saga_service import Saga, Step
from saga_service.testing import Simulation

ORDER = Saga("order", steps=[Step("reserve", action="stock.reserve")])
KEPT = []

def run(key):
    sim = Simulation(ORDER)
    sim.start("order", key=key)
    sim.run()
    return sim

def test_one_that_passes():
    KEPT.append(run("passed"))

def test_one_that_fails():
    first, second = run("A-1"), run("A-2")
    assert first.sagas[0].status == "stuck"

def test_one_that_fails_without_a_saga():
    assert not KEPT
"""


def test_a_failed_test_shows_the_timelines_of_its_own_sagas(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_order.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "2 failed, 1 passed" in done.stdout
    shown = done.stdout.partition(" Simulated sagas ")[2].partition("\n____")[0].splitlines()
    assert shown[1:] == [
        "order 'A-1' is completed",
        "  0s  started; sent reserve",
        "  0s  reserve: action succeeded; the saga is completed",
        "order 'A-2' is completed",
        "  0s  started; sent reserve",
        "  0s  reserve: action succeeded; the saga is completed",
    ]
    assert done.stdout.count(" Simulated sagas ") == 1
