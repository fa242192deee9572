"""Options that could not work are refused; every run has a name of its own."""

from __future__ import annotations

from typing import Any

import pytest

from saga_service.settings import Settings
from saga_service.worker import Worker, WorkerOptions, run_workers


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"read_block_ms": 0},
        {"reclaim_idle_ms": 0},
        {"reclaim_period_ms": -1},
        {"reply_bytes_max": 0},
        {"shutdown_grace_ms": -1},
    ],
)
def test_numbers_that_cannot_work_are_refused_by_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        WorkerOptions(**wrong)


def test_no_two_runs_have_the_same_consumer_name() -> None:
    assert WorkerOptions().consumer_name != WorkerOptions().consumer_name


def test_the_defaults_are_those_of_the_settings() -> None:
    settings, options = Settings(_env_file=None), WorkerOptions()
    assert options.redis_url == settings.redis_url.get_secret_value()
    assert options.reply_bytes_max == settings.entry_bytes_max
    for name in ("stream_prefix", "read_block_ms", "reclaim_idle_ms", "reclaim_period_ms", "shutdown_grace_ms"):
        assert getattr(options, name) == getattr(settings, name), name


async def test_a_worker_without_handlers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"worker 'payment' has no handlers; register them with @worker\.handler"):
        await run_workers([Worker("payment")])


async def test_two_workers_for_one_service_are_refused() -> None:
    workers = [Worker("payment"), Worker("payment")]
    for worker in workers:

        @worker.handler("payment.charge")
        async def charge(data: dict[str, Any]) -> None: ...

    with pytest.raises(ValueError, match="more than one worker for the service 'payment'"):
        await run_workers(workers)
