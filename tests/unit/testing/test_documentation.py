"""The test kit: what the README shows works as it stands there, and needs no server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "testing.md"
SERVERS = ("asyncpg", "hiredis", "redis")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def first_saga() -> str:
    return next(block for block in python_blocks(README) if 'Saga("shop-order"' in block)


def shown_tests(page: Path) -> list[str]:
    return [block for block in python_blocks(page) if re.search(r"^def test_|^async def test_", block, re.MULTILINE)]


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.name)
def test_every_test_that_a_page_shows_passes_without_a_plugin(page: Path, tmp_path: Path) -> None:
    shown = shown_tests(page)
    assert shown, "the page shows a test"
    (tmp_path / "shop.py").write_text(first_saga())
    for number, block in enumerate(shown):
        (tmp_path / f"test_shop_{number}.py").write_text(block)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_simulation_imports_no_client_of_a_server(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(first_saga())
    program = f"""
import sys
from shop import order, worker
from saga_service.testing import Simulation

sim = Simulation(order, [worker])
saga = sim.start("shop-order", {{"order_id": "A-2", "amount": 3000}})
sim.run()
print(saga.status, saga.error, [name for name in {SERVERS!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "compensated over_limit []"
