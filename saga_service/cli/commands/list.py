"""`list`: the sagas, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from saga_service.cli.access.encryption import cipher_of, decrypted_saga
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.selection import find_saga
from saga_service.cli.access.views import SagaRow, list_sagas
from saga_service.cli.console.output import AsJson, duration, print_json
from saga_service.cli.console.tables import print_table
from saga_service.cli.console.timeline import why
from saga_service.cli.invocation import read_settings, run_to_end
from saga_service.cli.text import shell_word
from saga_service.core.vocabulary import SagaStatus
from saga_service.settings import Settings


def list_command(
    status: Annotated[SagaStatus | None, typer.Option(help="Only those with this status.")] = None,
    saga: Annotated[str | None, typer.Option(help="Only those of this definition.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those with this business key.")] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="SAGA_ID|KEY", help="Only the children that this saga has started.")
    ] = None,
    sagas_max: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    sagas = run_to_end(_list(read_settings(), status, saga, key, parent, sagas_max))
    if as_json:
        print_json(sagas)
    elif not sagas:
        typer.echo("no sagas", err=True)
    else:
        now = datetime.now(UTC)
        rows = [
            (row.id, row.status, row.saga, shell_word(row.key or ""), duration(now - row.created_at), why(row))
            for row in sagas
        ]
        print_table(("id", "status", "saga", "key", "age", "why"), rows, texts=("why",), lines_max=3)


async def _list(
    settings: Settings, status: str | None, saga: str | None, key: str | None, parent: str | None, sagas_max: int
) -> list[SagaRow]:
    async with open_postgres(settings) as connection:
        # Here --saga is the definition of the children, and not of the parent.
        parent_id = None if parent is None else (await find_saga(connection, parent, by_definition="")).id
        found = await list_sagas(
            connection, status=status, saga=saga, key=key, parent_id=parent_id, sagas_max=sagas_max
        )
    cipher = cipher_of(settings)
    return [decrypted_saga(row, cipher) for row in found]
