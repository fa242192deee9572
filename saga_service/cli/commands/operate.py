"""`retry`, `skip`, `resolve`, `cancel`, `compensate`, `pause`, `resume`: operations on one saga, or on many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.requests import RequestOutcome, request_outcomes
from saga_service.admin.text import shell_word
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.option_values import own_name, read_json_object
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.access.postgres_writers import open_requests
from saga_service.cli.access.selection import SelectedSagas, Selection, check_selection, select, tell_unknown_definition
from saga_service.cli.console.bulk import IN_BULK, Bulk, DryRun, Yes
from saga_service.cli.console.output import (
    ANSWER_TIMEOUT_S,
    AnswerTimeout,
    AsJson,
    duration,
    print_json,
    print_line,
)
from saga_service.cli.console.requests import exit_code, in_words
from saga_service.cli.console.tables import print_table
from saga_service.cli.console.timeline import why
from saga_service.cli.exits import ExitCode
from saga_service.cli.invocation import run_to_end
from saga_service.core.ids import SagaId
from saga_service.core.vocabulary import Operation, Resolution, SagaStatus
from saga_service.settings import Settings
from saga_service.store.requests import OperationCall

SAGAS_MAX = 1_000

OneSaga = Annotated[
    str | None, typer.Argument(metavar="[SAGA_ID|KEY]", help="One saga. Without it those that the filters leave.")
]
Step = Annotated[str | None, typer.Option(help="The step that is meant; else every one that waits for a person.")]
Actor = Annotated[str | None, typer.Option(help="Who requests it, for the history; else your name on this machine.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the history.")]
Saga = Annotated[str | None, typer.Option(help="Those of this definition.", rich_help_panel=IN_BULK)]
ErrorCode = Annotated[
    str | None, typer.Option("--error-code", help="Those undone for, or stuck at, this error.", rich_help_panel=IN_BULK)
]
Status = Annotated[
    SagaStatus | None,
    typer.Option(
        "--status", help="Those with this status; else every status that it applies to.", rich_help_panel=IN_BULK
    ),
]
OlderThan = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="Those whose last change is so long ago: 30m, 2h, 1d.", rich_help_panel=IN_BULK),
]
Limit = Annotated[
    int,
    typer.Option(
        "--limit", min=1, max=100_000, help="So many at most, the longest unchanged first.", rich_help_panel=IN_BULK
    ),
]


def _saga_command(operation: Operation) -> Callable[..., None]:
    """The command of an operation on a saga as a whole."""

    def command(
        target: OneSaga = None,
        actor: Actor = None,
        reason: Reason = None,
        status: Status = None,
        saga: Saga = None,
        error_code: ErrorCode = None,
        older_than: OlderThan = None,
        sagas_max: Limit = SAGAS_MAX,
        dry_run: DryRun = False,
        yes: Yes = False,
        timeout_s: AnswerTimeout = ANSWER_TIMEOUT_S,
        as_json: AsJson = False,
    ) -> None:
        _operate(
            OperationCall(operation, actor or own_name(), reason),
            Selection(target, status, saga, error_code, older_than, sagas_max),
            Bulk(dry_run, yes, as_json),
            timeout_s,
        )

    return command


def _step_command(operation: Operation) -> Callable[..., None]:
    """The command of an operation on a saga's steps."""

    def command(
        target: OneSaga = None,
        step: Step = None,
        actor: Actor = None,
        reason: Reason = None,
        status: Status = None,
        saga: Saga = None,
        error_code: ErrorCode = None,
        older_than: OlderThan = None,
        sagas_max: Limit = SAGAS_MAX,
        dry_run: DryRun = False,
        yes: Yes = False,
        timeout_s: AnswerTimeout = ANSWER_TIMEOUT_S,
        as_json: AsJson = False,
    ) -> None:
        _operate(
            OperationCall(operation, actor or own_name(), reason, step),
            Selection(target, status, saga, error_code, older_than, sagas_max),
            Bulk(dry_run, yes, as_json),
            timeout_s,
        )

    return command


def resolve_command(
    resolution: Annotated[Resolution, typer.Option("--as", help="What became of the step.")],
    target: OneSaga = None,
    step: Step = None,
    output: Annotated[
        str | None, typer.Option(metavar="JSON", help="With --as succeeded: what the step has returned.")
    ] = None,
    actor: Actor = None,
    reason: Reason = None,
    status: Status = None,
    saga: Saga = None,
    error_code: ErrorCode = None,
    older_than: OlderThan = None,
    sagas_max: Limit = SAGAS_MAX,
    dry_run: DryRun = False,
    yes: Yes = False,
    timeout_s: AnswerTimeout = ANSWER_TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    if output is not None and resolution is not Resolution.SUCCEEDED:
        raise Failure("--output goes with --as succeeded, and with nothing else", kind=FailureKind.INVALID)
    given = None if output is None else read_json_object(output.encode(), "--output")
    _operate(
        OperationCall(Operation.RESOLVE, actor or own_name(), reason, step, resolution, given),
        Selection(target, status, saga, error_code, older_than, sagas_max),
        Bulk(dry_run, yes, as_json),
        timeout_s,
    )


retry_command = _step_command(Operation.RETRY)
skip_command = _step_command(Operation.SKIP)
cancel_command = _saga_command(Operation.CANCEL)
compensate_command = _saga_command(Operation.COMPENSATE)
pause_command = _saga_command(Operation.PAUSE)
resume_command = _saga_command(Operation.RESUME)

_DONE: dict[Operation, str] = {
    Operation.RETRY: "tried again",
    Operation.SKIP: "skipped",
    Operation.RESOLVE: "resolved",
    Operation.CANCEL: "cancelled",
    Operation.COMPENSATE: "will undo everything",
    Operation.PAUSE: "paused",
    Operation.RESUME: "resumed",
}
"""The word for each operation once it was applied."""


def _operate(request: OperationCall, selection: Selection, bulk: Bulk, timeout_s: float) -> None:
    check_selection(selection)
    raise typer.Exit(run_to_end(_request(read_settings(), request, selection, bulk, timeout_s)))


async def _request(
    settings: Settings, request: OperationCall, selection: Selection, bulk: Bulk, timeout_s: float
) -> ExitCode:
    """Raises Failure where no saga is found by its name, or the person is not sure."""
    async with open_postgres(settings) as connection:
        selected = await select(connection, request.operation, selection)
        if not selected.sagas:
            await tell_unknown_definition(connection, selection.saga)
        if bulk.dry_run:
            _print_selected(selected, as_json=bulk.as_json)
            return ExitCode.FINE
        if selected.sagas and selection.target is None:
            bulk.confirm(f"{request.operation} {_counted(selected)}")
        async with open_requests(settings) as requests:
            request_ids = await requests.operate([SagaId(saga.id) for saga in selected.sagas], request)
            outcomes = await request_outcomes(connection, requests, selected.sagas, request_ids, timeout_s)
    _print_outcomes(outcomes, request.operation, as_json=bulk.as_json)
    if left := selected.fit - len(selected.sagas):
        typer.echo(f"{left:,} more fit; --limit says how many are operated at once", err=True)
    return exit_code(outcomes, timeout_s)


def _print_selected(selected: SelectedSagas, *, as_json: bool) -> None:
    if as_json:
        print_json([{name: getattr(saga, name) for name in _SELECTED_FIELDS} for saga in selected.sagas])
        return
    if selected.sagas:
        now = datetime.now(UTC)
        rows = [
            (saga.id, saga.status, saga.saga, shell_word(saga.key or ""), duration(now - saga.updated_at), why(saga))
            for saga in selected.sagas
        ]
        print_table(("id", "status", "saga", "key", "unchanged for", "why"), rows, texts=("why",), lines_max=3)
    typer.echo(f"{_counted(selected)}; nothing was requested", err=True)


_SELECTED_FIELDS = (
    *("id", "saga", "key", "status", "error_code", "error_message", "error_step"),
    *("stuck_step", "stuck_code", "stuck_message", "updated_at"),
)


def _counted(selected: SelectedSagas) -> str:
    count = len(selected.sagas)
    sagas = "1 saga" if count == 1 else f"{count:,} sagas"
    return f"{sagas}, the longest unchanged of the {selected.fit:,} that fit" if selected.fit > count else sagas


def _print_outcomes(outcomes: Sequence[RequestOutcome], operation: Operation, *, as_json: bool) -> None:
    if as_json:
        print_json(outcomes)
        return
    if not outcomes:
        typer.echo("no saga fits", err=True)
    for outcome in outcomes:
        print_line(in_words(outcome, _DONE[operation]))
