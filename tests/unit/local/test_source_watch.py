"""Files that an author saves are changes; what tools write beside them is none."""

from __future__ import annotations

from pathlib import Path

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


async def test_a_watch_that_fails_says_why(directory: Path) -> None:
    with watched([directory / "nowhere"], leave_out=directory) as changes:
        assert await eventually(lambda: changes.failed, within_s=20)
