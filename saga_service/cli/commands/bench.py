"""`bench`: the throughput and the latency of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.cli.console.output import AsJson, print_json, print_line
from saga_service.cli.console.tables import print_table
from saga_service.local.bench import BenchFailed, BenchOptions, BenchResult, run_bench
from saga_service.local.servers import EmbeddedServerError


def bench_command(
    sagas: Annotated[int, typer.Option(min=1, help="Order sagas for the throughput part.")] = 10_000,
    rate_per_s: Annotated[float, typer.Option("--rate", min=0.1, help="Sagas a second in the latency part.")] = 20.0,
    latency_sagas: Annotated[int, typer.Option(min=1, help="Sagas that the latency part times.")] = 200,
    postgres_dsn: Annotated[
        str | None, typer.Option("--postgres", help="A Postgres to use; embedded servers without it.")
    ] = None,
    redis_url: Annotated[str | None, typer.Option("--redis", help="A Redis to use, together with --postgres.")] = None,
    as_json: AsJson = False,
) -> None:
    if (postgres_dsn is None) != (redis_url is None):
        raise Failure("--postgres and --redis are given together, or neither is", kind=FailureKind.INVALID)
    options = BenchOptions(sagas, rate_per_s, latency_sagas, postgres_dsn, redis_url)
    try:
        result = run_bench(options)
    except (BenchFailed, EmbeddedServerError) as error:
        raise Failure(str(error)) from None
    if as_json:
        print_json(result)
    else:
        _print_result(result)


def _print_result(result: BenchResult) -> None:
    print_line(f"{result.sagas} order sagas in {result.seconds} s, the start of both processes included")
    print_line(f"throughput  {result.sagas_per_s:,.0f} sagas/s")
    print_line(
        f"latency     p50 {result.latency_p50_ms} ms, p99 {result.latency_p99_ms} ms at {result.rate_per_s:g} sagas/s"
    )
    rows = [
        (name, f"{cpu_ms:.3f}", f"{result.peak_memory_mib[name]:.0f}")
        for name, cpu_ms in sorted(result.cpu_ms_per_saga.items())
    ]
    print_table(("process", "CPU ms per saga", "peak MiB"), rows)
