"""Files of ended sagas: whole and on the disk, or not there at all; and what they hold, read back."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.cli.access.archive import ENDINGS, ArchivedSaga, ending_of, read_back, written_file

COLUMNS = {
    "sagas": {"id": "uuid", "revision": "integer", "input": "jsonb", "ended_at": "timestamp with time zone"},
    "steps": {"step": "text", "in_doubt": "boolean", "output": "jsonb"},
    "history": {"revision": "integer", "sent": "text[]"},
}


def saga(number: int) -> ArchivedSaga:
    return {
        "id": f"0000-{number}",
        "revision": number,
        "input": {"amount": number, "line": "a\nb"},
        "ended_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "steps": [{"step": "reserve", "in_doubt": False, "output": None}],
        "history": [{"revision": 1, "sent": ["reserve:action:1"]}],
    }


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_in_several_pages_is_read_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"sagas{ending}"
    with written_file(path, ending, COLUMNS) as write:
        for first in (1, 4, 7):
            write([saga(number) for number in range(first, first + 3)])
    assert list(read_back(path, ending)) == [(f"0000-{number}", number) for number in range(1, 10)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_sagas_make_a_file_without_any(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"sagas{ending}"
    with written_file(path, ending, COLUMNS):
        pass
    assert path.exists()
    assert list(read_back(path, ending)) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_where_writing_fails_there_is_no_file(tmp_path: Path, ending: str) -> None:
    def write_some_of_it() -> None:
        with written_file(tmp_path / f"sagas{ending}", ending, COLUMNS) as write:
            write([saga(1)])
            raise LookupError("the next page cannot be read")

    with pytest.raises(LookupError):
        write_some_of_it()
    assert list(tmp_path.iterdir()) == []


def test_a_line_is_one_json_object(tmp_path: Path) -> None:
    path = tmp_path / "sagas.jsonl"
    with written_file(path, ".jsonl", COLUMNS) as write:
        write([saga(1), saga(2)])
    first, second = path.read_text().splitlines()
    assert json.loads(first) == {**saga(1), "ended_at": "2026-01-31T12:00:00Z"}
    assert json.loads(second)["revision"] == 2


def test_the_same_sagas_make_the_same_compressed_file(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        with written_file(tmp_path / name, ".jsonl.gz", COLUMNS) as write:
            write([saga(1)])
    first, second = (tmp_path / "a.jsonl.gz").read_bytes(), (tmp_path / "b.jsonl.gz").read_bytes()
    assert first == second
    assert json.loads(gzip.decompress(first))["id"] == "0000-1"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    writing = written_file(tmp_path / "nowhere" / "sagas.jsonl", ".jsonl", COLUMNS)
    with pytest.raises(Failure, match=r"cannot be written: .*No such file or directory"):
        writing.__enter__()


@pytest.mark.parametrize(
    ("name", "ending"), [("a.jsonl", ".jsonl"), ("a.b.jsonl.gz", ".jsonl.gz"), ("a.gz", None), ("jsonl", None)]
)
def test_the_ending_says_what_is_written(tmp_path: Path, name: str, ending: str | None) -> None:
    if ending is not None:
        assert ending_of(tmp_path / name) == ending
        return
    with pytest.raises(Failure, match=r"must end in \.jsonl, \.jsonl\.gz, \.parquet"):
        ending_of(tmp_path / name)


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "sagas.jsonl"
    path.touch()
    with pytest.raises(Failure, match="exists already; name another file") as refused:
        ending_of(path)
    assert refused.value.kind is FailureKind.INVALID
