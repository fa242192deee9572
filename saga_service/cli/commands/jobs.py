"""`jobs`: operations on many sagas or dead letters that the service carries out: listed, shown, and stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from saga_service.admin.jobs import JobItemRow, JobRow, job_with_id, page_of_items, page_of_jobs, stop_job
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.option_values import own_name
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.console.output import AsJson, counted, moment, print_json, print_line
from saga_service.cli.console.tables import print_table
from saga_service.cli.invocation import run_to_end
from saga_service.settings import Settings

REFUSED_SHOWN_MAX = 10

commands = typer.Typer(no_args_is_help=True)
Number = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The job's number, as the list shows it.")]


@commands.command("list", epilog="Example: saga-service jobs list")
def list_command(
    jobs_max: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    found = run_to_end(_list(read_settings(), jobs_max))
    if as_json:
        print_json(found)
    elif not found:
        typer.echo("no jobs", err=True)
    else:
        columns = ("job", "operation", "status", "by", "previewed (UTC)", "done", "refused", "reason", "problem")
        print_table(columns, [_cells(row) for row in found], texts=("reason", "problem"), lines_max=3)


@commands.command("show", epilog="Example: saga-service jobs show 17")
def show_command(number: Number, as_json: AsJson = False) -> None:
    """Show one job: how far it is, who confirmed it and why, and what refused."""
    job, refused = run_to_end(_show(read_settings(), number))
    if as_json:
        print_json(job)
        return
    _print_job(job)
    _print_refused(job, refused)


@commands.command("stop", epilog="Example: saga-service jobs stop 17")
def stop_command(
    number: Number,
    actor: Annotated[str | None, typer.Option(help="Who stops it; else your name on this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Request nothing more of a job. What was requested already is carried out."""
    job = run_to_end(_stop(read_settings(), number, actor or own_name()))
    if as_json:
        print_json(job)
    else:
        print_line(f"job {job.id} is {job.status}: {_progress(job)}")


async def _list(settings: Settings, jobs_max: int) -> list[JobRow]:
    async with open_postgres(settings) as connection:
        return await page_of_jobs(connection, jobs_max)


async def _show(settings: Settings, number: int) -> tuple[JobRow, list[JobItemRow]]:
    async with open_postgres(settings) as connection:
        job = await job_with_id(connection, number)
        return job, await page_of_items(connection, number, REFUSED_SHOWN_MAX, verdict="refused")


async def _stop(settings: Settings, number: int, actor: str) -> JobRow:
    async with open_postgres(settings) as connection:
        await stop_job(connection, number, actor)
        return await job_with_id(connection, number)


def _cells(job: JobRow) -> tuple[str, ...]:
    done = f"{job.requested - job.open:,} of {job.total:,}"
    return (
        str(job.id),
        job.operation,
        job.status,
        job.confirmed_by or job.actor,
        moment(job.previewed_at),
        done,
        f"{job.refused:,}",
        job.reason,
        job.problem or "",
    )


def _print_job(job: JobRow) -> None:
    filters = ", ".join(f"{name} {value}" for name, value in job.filters.items()) or "by their ids"
    print_line(f"job {job.id}: {job.operation} of {counted(job.total, 'item')} ({filters})")
    print_line(f"because {job.reason}")
    print_line(f"status {job.status}: {_progress(job)}")
    print_line(f"previewed {moment(job.previewed_at)} UTC by {job.actor}")
    for what, at, by in (
        ("confirmed", job.confirmed_at, f" by {job.confirmed_by}"),
        ("stopped", job.stopped_at, f" by {job.stopped_by}"),
        ("ended", job.ended_at, ""),
    ):
        if at is not None:
            print_line(f"{what} {moment(at)} UTC{by}")
    if job.problem is not None:
        print_line(f"it stands still: {job.problem}")


def _progress(job: JobRow) -> str:
    rate = "" if not job.per_s else f", {job.per_s:g} each second"
    unknown = f", {job.unknown:,} unknown" if job.unknown else ""
    return (
        f"{job.requested:,} of {job.total:,} requested, {job.applied:,} applied, {job.repeated:,} so already, "
        f"{job.refused:,} refused{unknown}, {job.open:,} open{rate}"
    )


def _print_refused(job: JobRow, refused: Sequence[JobItemRow]) -> None:
    if not refused:
        return
    print_line()
    rows = [(each.saga_id or str(each.dead_letter), each.reason or "") for each in refused]
    print_table(("refused", "reason"), rows, texts=("reason",), lines_max=3)
    if job.refused > len(refused):
        print_line(f"and {job.refused - len(refused):,} more, in saga.job_items")
