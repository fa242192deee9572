"""What the doctor makes of the processes that are alive, and of their clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga_service import Saga, Step
from saga_service.admin.views import ProcessRow
from saga_service.admin.worker_handlers import lacking_workers
from saga_service.cli.checks.clocks import clock_findings
from saga_service.cli.checks.findings import Finding
from saga_service.cli.checks.processes import groups_read, process_findings
from saga_service.definitions import check_saga

ORDER = check_saga(Saga("order", steps=[Step("charge", action="payment.charge", compensation="payment.refund")]))


def row(kind: str, name: str, status: str = "alive", **more: Any) -> ProcessRow:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "host": "host",
        "pid": 7,
        "version": "0.1.0",
        "started_at": now,
        "last_seen_at": now - timedelta(hours=2 if status == "lost" else 0),
        "reads": [],
        "services": [],
        "definitions": {},
        "slots": 1,
        "in_flight": 0,
        "handled_per_s": 0.0,
        "clock_ahead_ms": 0,
    }
    return ProcessRow(kind=kind, name=name, status=status, **values | more)


def replica(name: str = "s-1", status: str = "alive", **definitions: str) -> ProcessRow:
    return row("service", name, status, definitions=definitions or {"order": "v1"})


def worker(name: str, *types: str, service: str = "payment", **more: Any) -> ProcessRow:
    handlers = [{"type": each} for each in types]
    return row("worker", name, services=[{"service": service, "handlers": handlers}], **more)


def found(*rows: ProcessRow, read_by_others: tuple[str, ...] = ()) -> dict[str, list[Finding]]:
    by_check: dict[str, list[Finding]] = {}
    for finding in process_findings(rows, [ORDER.document], read_by_others):
        by_check.setdefault(finding.check, []).append(finding)
    return by_check


def problems(findings: dict[str, list[Finding]]) -> list[str]:
    return [each.text for every in findings.values() for each in every if each.verdict == "problem"]


def test_where_everything_is_there_nothing_is_found() -> None:
    assert problems(found(replica(), worker("w-1", "payment.charge", "payment.refund"))) == []


def test_no_replica_that_is_alive_is_a_problem_that_names_the_lost_ones() -> None:
    [finding] = found(replica("s-1", "lost"), replica("s-2", "stopped"))["replicas"]
    assert finding.verdict == "problem"
    assert finding.text == "no service is alive; lost within a day: s-1, seen 2 h 0 min ago"
    assert finding.advice == "start one: saga-service run"


def test_a_service_that_definitions_need_without_a_worker_is_found() -> None:
    [text] = problems(found(replica()))
    assert "payment" in text


def test_a_worker_that_does_not_report_but_reads_counts_as_there() -> None:
    assert problems(found(replica(), read_by_others=("payment",))) == []


def test_a_worker_in_another_language_that_names_its_service_alone_counts_as_there() -> None:
    assert problems(found(replica(), row("worker", "node-1", services=[{"service": "payment"}]))) == []


def test_a_handler_that_no_worker_has_is_named() -> None:
    [text] = problems(found(replica(), worker("w-1", "payment.charge", "payment.other")))
    assert "payment.refund" in text


def test_a_handler_that_some_workers_lack_is_named_with_them() -> None:
    findings = found(replica(), worker("w-1", "payment.charge", "payment.refund"), worker("w-2", "payment.charge"))
    assert problems(findings) == ["workers of 'payment' differ: w-2 has no payment.refund"]


def test_definitions_that_replicas_do_not_share_are_named_by_version() -> None:
    findings = found(
        replica("s-1", order="v1", trip="t1"),
        replica("s-2", order="v2", trip="t1"),
        worker("w-1", "payment.charge", "payment.refund"),
    )
    assert problems(findings) == ["replicas differ: order is v1 on s-1, v2 on s-2"]


def test_with_no_service_alive_nothing_is_claimed_of_workers() -> None:
    assert found()["workers"] == [Finding("workers", "ok", "none is known")]
    assert "handlers" not in found()


def test_the_groups_of_workers_are_known_by_their_streams() -> None:
    reads = [{"stream": "saga:commands:payment", "group": "cashiers"}]
    assert groups_read([worker("w-1", reads=reads)]) == {"saga:commands:payment": {"cashiers"}}


@pytest.mark.parametrize(
    ("here_ms", "postgres_ms", "worker_ms", "expected"),
    [
        (0, 0, 0, None),
        (900, -900, 1_900, None),
        (0, 0, 30_000, "differ from Redis': worker w-1 30.0 s ahead"),
        (-4_000, 4_000, 0, "differ from Redis': this machine 4.0 s behind"),
        (0, 5_000, None, "differ from Redis': Postgres 5.0 s ahead"),
        (None, 5_000, 0, "differ from this machine's: Postgres 5.0 s ahead"),
    ],
)
async def test_clocks_that_differ_are_named(
    here_ms: int | None, postgres_ms: int | None, worker_ms: int | None, expected: str | None
) -> None:
    rows = [worker("w-1", clock_ahead_ms=worker_ms)]
    [finding] = [each async for each in clock_findings(rows, here_ms, postgres_ms)]
    assert (finding.verdict, finding.text if expected else None) == ("problem" if expected else "ok", expected)


async def test_with_no_server_there_are_no_clocks_to_compare() -> None:
    assert [each async for each in clock_findings([], None, None)] == []


def test_a_command_that_no_worker_carries_out_is_told_with_what_may_be_meant() -> None:
    rows = [replica(), worker("w-1", "payment.charge"), worker("w-2", service="stock")]
    assert lacking_workers(rows, ["payment.chrage", "payment.charge", "stock.reserve", "mail.send"]) == {
        "payment.chrage": (
            "no worker that is known to be alive carries out payment.chrage; did you mean 'payment.charge'?"
        ),
        "mail.send": "no worker that is known to be alive carries out mail.send",
    }


def test_without_a_service_nothing_is_known_of_workers() -> None:
    assert lacking_workers([replica("s-1", "lost")], ["payment.charge"]) == {}
