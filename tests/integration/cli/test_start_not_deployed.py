"""A start that no service which is alive can begin says so at once, and afterwards by what time it is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from saga_service.core.ids import saga_id_from_key
from saga_service.definitions import Saga, Step, check_saga
from saga_service.definitions.catalog import Catalog
from saga_service.engine.decode import Decoder
from saga_service.engine.deferral import deferred
from saga_service.engine.ports import Batch
from saga_service.wire.entries import Entry
from saga_service.wire.process_report import ProcessReport
from saga_service.wire.transport import StreamNames
from tests.support.command_line import report, run_aside, store

ORDER = check_saga(
    Saga(
        "shop-order",
        input={"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
        key="order_id",
        steps=[Step("reserve", action="shop.reserve")],
    )
)
RENAMED = ProcessReport(kind="service", name="s-1", definitions={"shop-orders": "v1"})
HAS_IT = ProcessReport(kind="service", name="s-2", definitions={"shop-order": ORDER.definition.version})
AT_TIME = r"\d\d:\d\d:\d\d UTC"
NOBODY_HAS_IT = (
    r"no service that is alive has the saga 'shop-order'; did you mean 'shop-orders'\?; "
    rf"the entry waits for one until {AT_TIME}, and becomes a dead letter then"
)
START = ("start", "shop-order", "-f", "order_id=R-2")
R_2 = saga_id_from_key("shop-order", "R-2")


@pytest.fixture(autouse=True)
async def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_dsn: str, redis_url: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("SAGA_REDIS_URL", redis_url)
    await store(postgres_dsn, Batch(), ORDER.document)


async def test_a_start_that_nobody_alive_can_begin_says_so_at_once(postgres_dsn: str) -> None:
    await report(postgres_dsn, RENAMED)
    ran, in_json = await run_aside(*START), await run_aside(*START, "--json")

    assert (ran.exit_code, ran.lines) == (0, [R_2])
    assert re.search(NOBODY_HAS_IT, ran.err.splitlines()[0])
    [remark] = in_json.json["remarks"]
    assert re.fullmatch(NOBODY_HAS_IT, remark)


async def test_where_no_service_is_alive_the_start_says_how_one_is_started(postgres_dsn: str) -> None:
    await report(postgres_dsn, ProcessReport(kind="service", name="s-1", has_stopped=True))
    ran = await run_aside(*START)
    assert ran.err.splitlines()[0] == "no service is alive that could start it; start one: saga-service run"


@pytest.mark.parametrize("known", [(), (HAS_IT, RENAMED)], ids=["nothing is known", "one has it"])
async def test_nothing_is_said_where_a_service_has_it_or_none_is_known(
    postgres_dsn: str, known: tuple[ProcessReport, ...]
) -> None:
    await report(postgres_dsn, *known)
    ran = await run_aside(*START, "--json")
    assert (ran.err, ran.json["remarks"]) == ("", [])


async def test_a_wait_that_is_over_says_that_the_entry_was_not_taken(postgres_dsn: str) -> None:
    ran = await run_aside(*START, "--wait", "--timeout", "0.3")
    assert (ran.exit_code, "has not ended" in ran.err) == (7, False)
    assert f"shop-order {R_2} has not started after 0.3 s: no service has taken its entry yet" in ran.err


async def test_an_entry_that_waits_for_a_service_is_found_by_the_id_and_the_key_of_its_saga(postgres_dsn: str) -> None:
    entry = Entry("saga:events", "1-1", {b"type": b"shop-order", b"data": b'{"order_id":"R-2"}'})
    decoder = Decoder(Catalog([]), StreamNames("saga:"), 100_000)
    named = decoder.named_on_record(entry, {"shop-order": ORDER})
    await store(postgres_dsn, Batch(deferred=[deferred(entry, 1, named=named)]))

    for shown in (await run_aside("show", R_2), await run_aside("show", "R-2")):
        assert shown.exit_code != 0
        assert re.search(
            rf"yet: a request for it waits for a replica of the service that has 'shop-order', until {AT_TIME}",
            shown.err,
        )
    waited = await run_aside(*START, "--wait", "--timeout", "0.3")
    assert re.search(
        rf"has not started after 0.3 s: its entry waits for a service that has 'shop-order', until {AT_TIME}",
        waited.err,
    )
