"""Files that an author saves are changes; what tools write beside them is none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from saga_service.local.source_watch import watched
from tests.support.waiting import eventually


async def test_a_saved_source_is_a_change_and_the_data_of_servers_is_none(directory: Path) -> None:
    data = directory / "data"
    data.mkdir()
    with watched([directory, data], leave_out=data) as changes:

        def seen() -> list[str]:
            # Again and again: the watch may begin after the first of them.
            for name in ("data/made.yaml", "notes.txt", "shop.py", "order.yaml"):
                (directory / name).write_text("saved")
            return changes.take()

        assert set(await eventually(seen, within_s=20)) <= {"shop.py", "order.yaml"}
        assert changes.failed is None


async def test_a_saved_test_is_a_change_only_where_it_is_run_or_imported(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = ModuleType("test_imported")
    imported.__file__ = str(directory / "test_imported.py")
    monkeypatch.setitem(sys.modules, "test_imported", imported)
    names = ["test_shop.py", "conftest.py", "shop_test.py", "test_imported.py", "test_workers.py", "contest.py"]
    seen: set[str] = set()
    with watched([directory], directory / "data", ["shop.test_workers"]) as changes:

        def all_seen() -> bool:
            for name in names:
                (directory / name).write_text("saved")
            seen.update(changes.take())
            return len(seen) >= 3

        await eventually(all_seen, within_s=20)

    assert seen == {"test_imported.py", "test_workers.py", "contest.py"}


async def test_a_watch_that_fails_says_why(directory: Path) -> None:
    with watched([directory / "nowhere"], leave_out=directory) as changes:
        assert await eventually(lambda: changes.failed, within_s=20)
