"""`list`: the sagas, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any

import typer

from saga_service.admin.encryption import cipher_of, decrypted_saga
from saga_service.admin.filters import SagaFilter
from saga_service.admin.lists import newest_sagas
from saga_service.admin.text import shell_word
from saga_service.admin.views import AwaitedRow, SagaRow, awaited_steps
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.option_values import age
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.selection import find_saga, tell_unknown_definition
from saga_service.cli.console.output import AsJson, duration, print_json, shown_of
from saga_service.cli.console.tables import print_table
from saga_service.cli.console.timeline import awaited_in_short, why
from saga_service.cli.invocation import run_to_end
from saga_service.core.vocabulary import SagaStatus
from saga_service.settings import Settings


@dataclass(frozen=True, slots=True)
class ListedSaga:
    """A saga with the steps of it that wait for something."""

    saga: SagaRow
    awaited: Sequence[AwaitedRow]

    def as_json(self) -> dict[str, Any]:
        """The saga's columns, and what is awaited. `Any`: plain values."""
        return {**asdict(self.saga), "awaited": [_without_id(step) for step in self.awaited]}


def list_command(
    status: Annotated[SagaStatus | None, typer.Option(help="Only those with this status.")] = None,
    saga: Annotated[str | None, typer.Option(help="Only those of this definition.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those with this business key.")] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="SAGA_ID|KEY", help="Only the children that this saga has started.")
    ] = None,
    error_code: Annotated[
        str | None, typer.Option("--error-code", help="Only those undone for, or stuck at, this error.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only those whose last change is so long ago: 30m, 2h, 1d.")
    ] = None,
    newer_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only those whose last change is not so long ago.")
    ] = None,
    sagas_max: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    wanted = SagaFilter(
        statuses=None if status is None else (status,),
        saga=saga,
        key=key,
        error_code=error_code,
        older_than=age(older_than, "--older-than"),
        newer_than=age(newer_than, "--newer-than"),
    )
    listed, fit = run_to_end(_list(read_settings(), wanted, parent, sagas_max))
    if as_json:
        print_json([each.as_json() for each in listed])
    elif listed:
        _print_list(listed, datetime.now(UTC))
    typer.echo(shown_of(len(listed), fit, "saga"), err=True)


def _print_list(listed: Sequence[ListedSaga], now: datetime) -> None:
    print_table(
        ("id", "status", "saga", "key", "age", "awaits", "why"),
        [
            (
                *(each.saga.id, each.saga.status, each.saga.saga, shell_word(each.saga.key or "")),
                duration(now - each.saga.created_at),
                awaited_in_short(each.saga, each.awaited, now),
                why(each.saga),
            )
            for each in listed
        ],
        texts=("awaits", "why"),
        lines_max=3,
    )


async def _list(
    settings: Settings, wanted: SagaFilter, parent: str | None, sagas_max: int
) -> tuple[list[ListedSaga], int | None]:
    async with open_postgres(settings) as connection:
        if parent is not None:
            # Here --saga is the definition of the children, and not of the parent.
            wanted = replace(wanted, parent_id=(await find_saga(connection, parent, by_definition="")).id)
        found, fit = await newest_sagas(connection, wanted, sagas_max)
        if not found:
            await tell_unknown_definition(connection, wanted.saga)
        awaited = _by_saga(await awaited_steps(connection, [row.id for row in found if row.ended_at is None]))
    cipher = cipher_of(settings)
    return [ListedSaga(decrypted_saga(row, cipher), awaited.get(row.id, ())) for row in found], fit


def _by_saga(steps: Iterable[AwaitedRow]) -> dict[str, list[AwaitedRow]]:
    return {saga_id: list(rows) for saga_id, rows in groupby(steps, key=lambda step: step.saga_id)}


def _without_id(step: AwaitedRow) -> dict[str, Any]:
    return {name: value for name, value in asdict(step).items() if name != "saga_id"}
