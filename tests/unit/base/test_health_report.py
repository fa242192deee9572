"""Reports of health as they are read: what stands still, and what dead processes have left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saga_service.base.health_report import OLD_AFTER_S, LoopHealth, ProcessHealth, read_health_reports

NOW_S = 10_000.0


def report(*loops: LoopHealth, written_at_s: float = NOW_S) -> ProcessHealth:
    return ProcessHealth("service", "host-7-ab", 7, [], 60.0, written_at_s, list(loops))


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        pytest.param(report(), [], id="without loops yet"),
        pytest.param(report(LoopHealth("timers", None)), [], id="a loop that waits, for however long"),
        pytest.param(report(LoopHealth("lane", NOW_S - 59)), [], id="a loop that works within its bound"),
        pytest.param(
            report(LoopHealth("lane", NOW_S - 61), LoopHealth("timers", None)), [("the loop 'lane'", 61.0)], id="longer"
        ),
        pytest.param(
            report(LoopHealth("lane", 0.0), written_at_s=NOW_S - OLD_AFTER_S - 1),
            [("the event loop", OLD_AFTER_S + 1)],
            id="a blocked event loop, which holds up every loop",
        ),
    ],
)  # fmt: skip
def test_what_stands_still_is_named_and_since_when(process: ProcessHealth, expected: list[tuple[str, float]]) -> None:
    assert list(process.standing_still(NOW_S)) == expected


def test_a_file_of_a_killed_process_is_removed_even_if_its_id_is_in_use_again(tmp_path: Path) -> None:
    left = tmp_path / "service-1-0.json"
    left.write_text(json.dumps({"kind": "service", "pid": 1}))

    assert read_health_reports(tmp_path) == []
    assert not left.exists()


def test_a_killed_process_leaves_no_living_report(tmp_path: Path) -> None:
    program = f"""
import asyncio, os, signal
from saga_service.base.health_file import Identity, kept_health_file
from saga_service.base.liveness import Liveness
async def main():
    async with kept_health_file({str(tmp_path)!r}, Identity("worker", "w", ("fleet",), 60.0), Liveness()):
        print(len(os.listdir({str(tmp_path)!r})), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-9, "1\n")

    assert read_health_reports(tmp_path) == []


def test_a_directory_that_is_not_there_has_no_reports(tmp_path: Path) -> None:
    assert read_health_reports(tmp_path / "none") == []


def test_reading_reports_imports_the_standard_library_alone() -> None:
    program = "import saga_service.base.health_report, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"asyncio", "structlog", "pydantic", "redis", "asyncpg"} & set(modules) == set()
