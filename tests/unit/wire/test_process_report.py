"""Reports of processes: whatever a stranger leaves is read as one, or refused, and never breaks who reads it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from saga_service.wire.process_report import (
    ProcessReport,
    UnreadableReport,
    read_process_report,
    write_process_report,
)

FULL = ProcessReport(
    kind="worker",
    name="host-7-ab",
    host="host",
    pid=7,
    version="0.1.0",
    started_at_ms=1_700_000_000_000,
    reads=[{"stream": "saga:commands:payment", "group": "payment"}],
    services=[{"service": "payment", "handlers": [{"type": "payment.charge"}]}],
    definitions={"order": "abc"},
    slots=64,
    in_flight=3,
    handled_per_s=12.5,
    clock_ahead_ms=-40,
    has_stopped=True,
)


def test_a_report_is_read_as_it_was_written() -> None:
    assert read_process_report(write_process_report(FULL)) == FULL


def test_a_worker_in_another_language_needs_to_say_little() -> None:
    report = read_process_report(b'{"kind": "worker", "name": "node-1", "services": [{"service": "mail"}]}')
    assert (report.name, report.services, report.slots, report.has_stopped) == (
        "node-1",
        [{"service": "mail"}],
        None,
        False,
    )


def test_fields_of_a_later_release_are_left_out() -> None:
    later = orjson.loads(write_process_report(FULL)) | {"mood": "fine"}
    assert read_process_report(orjson.dumps(later)) == FULL


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"kind": "cron"}, "'kind'"),
        ({"name": None}, "'name'"),
        ({"name": "a" * 501}, "'name'"),
        ({"host": 5}, "'host'"),
        ({"host": "a\0b"}, "NUL"),
        ({"pid": True}, "'pid'"),
        ({"pid": 2**53}, "'pid'"),
        ({"started_at_ms": -1}, "'started_at_ms'"),
        ({"clock_ahead_ms": 0.5}, "'clock_ahead_ms'"),
        ({"handled_per_s": "many"}, "'handled_per_s'"),
        ({"services": ["payment"]}, "'services'"),
        ({"services": [{"service": "a\0"}]}, "NUL"),
        ({"definitions": {"order": 1}}, "'definitions'"),
    ],
    ids=str,
)
def test_what_is_no_report_is_refused_with_what_is_wrong(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(UnreadableReport, match=named):
        read_process_report(orjson.dumps(orjson.loads(write_process_report(FULL)) | changed))


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b"5", b'"report"', b'"' + b"x" * 1_100_000 + b'"'], ids=len)
def test_what_is_no_json_object_is_refused(written: bytes) -> None:
    with pytest.raises(UnreadableReport):
        read_process_report(written)
