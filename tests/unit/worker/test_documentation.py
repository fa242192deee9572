"""The examples of docs/workers.md are what they seem: they can be imported, and do what the text around them says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from saga_service.cli.main import COMMANDS
from saga_service.core.vocabulary import Outcome
from saga_service.wire.commands import read_command
from saga_service.worker import StepContext, Worker
from saga_service.worker.dispatcher import QUEUED_PER_SLOT_MAX
from saga_service.worker.errors import FAULT_CODES
from saga_service.worker.execution import execute
from saga_service.worker.inbox import exactly_once, postgres
from tests.support.paths import ROOT
from tests.support.workers import command_entry, understood

GUIDE = (ROOT / "docs" / "workers.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def guide() -> Iterator[ModuleType]:
    """All examples as one module, in their order."""
    module = ModuleType("workers_of_the_guide")
    sys.modules[module.__name__] = module
    exec(compile("\n".join(EXAMPLES), "docs/workers.md", "exec"), module.__dict__)
    yield module
    del sys.modules[module.__name__]


def test_the_examples_register_what_they_speak_of(guide: ModuleType) -> None:
    workers = [value for value in vars(guide).values() if isinstance(value, Worker)]
    for worker in workers:
        worker.check()
    payment, reports = workers
    assert set(payment.handlers) == {"payment.charge", "payment.refund", "payment.find_charge"}
    assert payment.handlers["payment.charge"].takes_connection
    assert payment.handlers["payment.refund"].undoes == "payment.charge"
    assert payment.handlers["payment.find_charge"].answers_probes
    assert reports.handlers["reports.render"].concurrency == 4


@pytest.mark.parametrize(("deadline_in_ms", "outcome"), [(60_000, Outcome.SUCCEEDED), (500, Outcome.FAILED)])
async def test_the_long_handler_of_the_guide_runs(guide: ModuleType, deadline_in_ms: int, outcome: Outcome) -> None:
    received = read_command(command_entry(1, command_type="reports.render", deadline_in_ms=deadline_in_ms))
    handler: Any = guide.reports.handlers["reports.render"]
    reply = await execute(handler, received, StepContext(received, lambda _: None), 10_000)
    assert reply is not None
    assert understood(reply).outcome is outcome


def test_the_guide_has_the_numbers_of_the_code() -> None:
    assert f"kept for {postgres.KEPT_DAYS_DEFAULT} days" in GUIDE
    assert f"`connections_max` connections ({postgres.CONNECTIONS_MAX_DEFAULT})" in GUIDE
    assert (exactly_once.IDLE_TRANSACTION_GRACE_MS, "five seconds after its command's deadline" in GUIDE) == (
        5_000,
        True,
    )
    assert (QUEUED_PER_SLOT_MAX, "eight times the worker's concurrency" in GUIDE) == (8, True)


def test_the_guides_table_of_error_codes_is_that_of_the_code() -> None:
    section = GUIDE.split("## Error codes")[1].split("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` +\| (.*?) +\|$", section, re.MULTILINE)) == dict(FAULT_CODES)


def test_the_guides_commands_exist() -> None:
    known = {entry.name for entry in COMMANDS}
    used = set(re.findall(r"^saga-service ([a-z-]+)", GUIDE, re.MULTILINE))
    assert used == {"worker-migrate", "worker", "check"}
    assert used <= known
