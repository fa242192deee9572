"""The record of a running `dev`: found in its folder and below, and only while its process lives."""

from __future__ import annotations

import json
from pathlib import Path

from saga_service.local.dev_record import DEV_FOLDER, ended_dev, recorded, running_dev

ADDRESSES = {"SAGA_POSTGRES_DSN": "postgresql://nowhere/saga", "SAGA_REDIS_URL": "redis://nowhere/0"}


def test_a_running_dev_is_found_in_its_folder_and_below_it(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    with recorded(tmp_path, ADDRESSES):
        for folder in (tmp_path, below):
            found = running_dev(folder)
            assert found is not None
            assert (found.folder, found.settings) == (tmp_path, ADDRESSES)
    assert running_dev(tmp_path) is None


def test_a_folder_that_was_made_for_the_record_goes_with_it_and_git_does_not_see_it(tmp_path: Path) -> None:
    with recorded(tmp_path, ADDRESSES, "demo"):
        assert (tmp_path / DEV_FOLDER / ".gitignore").read_text() == "*\n"
        found = running_dev(tmp_path)
        assert found is not None
        assert found.command == "demo"
    assert ended_dev(tmp_path) is None


def test_a_folder_that_was_there_outlives_the_record(tmp_path: Path) -> None:
    (tmp_path / DEV_FOLDER).mkdir()
    with recorded(tmp_path, ADDRESSES):
        pass
    assert ended_dev(tmp_path) == tmp_path
    assert list((tmp_path / DEV_FOLDER).iterdir()) == []


def test_the_nearest_dev_is_the_one_that_is_meant(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with recorded(tmp_path, ADDRESSES), recorded(inner, {"SAGA_REDIS_URL": "redis://inner/0"}):
        found = running_dev(inner)
        assert found is not None
        assert found.folder == inner


def test_the_record_of_a_process_that_was_killed_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / DEV_FOLDER).mkdir()
    (tmp_path / DEV_FOLDER / "dev.json").write_text(json.dumps({"pid": 1, "settings": ADDRESSES}))
    assert running_dev(tmp_path) is None


def test_only_its_owner_may_read_the_record(tmp_path: Path) -> None:
    with recorded(tmp_path, ADDRESSES):
        assert (tmp_path / DEV_FOLDER / "dev.json").stat().st_mode & 0o077 == 0


def test_where_the_record_cannot_be_written_dev_runs_all_the_same(tmp_path: Path) -> None:
    (tmp_path / DEV_FOLDER).write_text("a file in the folder's place")
    with recorded(tmp_path, ADDRESSES):
        assert running_dev(tmp_path) is None
