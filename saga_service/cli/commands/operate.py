"""`retry`, `skip`, `resolve`, `cancel`, `compensate`, `pause`, `resume`: what a person asks of one saga, or of many.

The words of the command line; what they come to is in `operating`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from saga_service.cli.access.selection import Manner, Selection, Wish
from saga_service.cli.access.servers import read_settings
from saga_service.cli.commands.list import Status
from saga_service.cli.event_loop import run_to_end

SAGAS_AT_ONCE = 1_000
TIMEOUT_S = 10.0


class Resolved(StrEnum):
    """As the core says it. Written down once more because reading the core costs time that help has not got."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    COMPENSATED = "compensated"


FILTERS = "Many sagas"

Target = Annotated[
    str | None, typer.Argument(metavar="[SAGA_ID|KEY]", help="One saga. Without it those that the filters name.")
]
Step = Annotated[str | None, typer.Option(help="The step that is meant; else every one that waits for a person.")]
Actor = Annotated[str | None, typer.Option(help="Who asks, for the history; else who you are on this machine.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the history.")]
Saga = Annotated[str | None, typer.Option(help="Those of this definition.", rich_help_panel=FILTERS)]
Error = Annotated[
    str | None, typer.Option("--error-code", help="Those undone for, or stuck at, this error.", rich_help_panel=FILTERS)
]
OfStatus = Annotated[
    Status | None,
    typer.Option("--status", help="Those with this status; else what there is for it to do.", rich_help_panel=FILTERS),
]
OlderThan = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="Those whose last change is so long ago: 30m, 2h, 1d.", rich_help_panel=FILTERS),
]
Limit = Annotated[
    int,
    typer.Option(
        "--limit", min=1, max=100_000, help="So many at most, the longest unchanged first.", rich_help_panel=FILTERS
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show which sagas are meant, and ask nothing of them.")]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask whether you are sure: for scripts.", rich_help_panel=FILTERS)
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="How long to wait for the answers, in seconds.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _of_sagas(operation: str) -> Callable[..., None]:
    """The command for a verb that is asked of a saga as a whole."""

    def command(
        target: Target = None,
        actor: Actor = None,
        reason: Reason = None,
        status: OfStatus = None,
        saga: Saga = None,
        error_code: Error = None,
        older_than: OlderThan = None,
        sagas_max: Limit = SAGAS_AT_ONCE,
        dry_run: DryRun = False,
        yes: Yes = False,
        timeout_s: Timeout = TIMEOUT_S,
        as_json: AsJson = False,
    ) -> None:
        _operate(
            Wish(operation, actor, reason),
            Selection(target, status, saga, error_code, older_than, sagas_max),
            Manner(dry_run, yes, timeout_s, as_json),
        )

    return command


def _of_steps(operation: str) -> Callable[..., None]:
    """The command for a verb that is asked of a saga's steps."""

    def command(
        target: Target = None,
        step: Step = None,
        actor: Actor = None,
        reason: Reason = None,
        status: OfStatus = None,
        saga: Saga = None,
        error_code: Error = None,
        older_than: OlderThan = None,
        sagas_max: Limit = SAGAS_AT_ONCE,
        dry_run: DryRun = False,
        yes: Yes = False,
        timeout_s: Timeout = TIMEOUT_S,
        as_json: AsJson = False,
    ) -> None:
        _operate(
            Wish(operation, actor, reason, step),
            Selection(target, status, saga, error_code, older_than, sagas_max),
            Manner(dry_run, yes, timeout_s, as_json),
        )

    return command


def resolve_command(
    resolution: Annotated[Resolved, typer.Option("--as", help="What became of the step.")],
    target: Target = None,
    step: Step = None,
    output: Annotated[
        str | None, typer.Option(metavar="JSON", help="With --as succeeded: what the step has returned.")
    ] = None,
    actor: Actor = None,
    reason: Reason = None,
    status: OfStatus = None,
    saga: Saga = None,
    error_code: Error = None,
    older_than: OlderThan = None,
    sagas_max: Limit = SAGAS_AT_ONCE,
    dry_run: DryRun = False,
    yes: Yes = False,
    timeout_s: Timeout = TIMEOUT_S,
    as_json: AsJson = False,
) -> None:
    _operate(
        Wish("resolve", actor, reason, step, resolution.value, output),
        Selection(target, status, saga, error_code, older_than, sagas_max),
        Manner(dry_run, yes, timeout_s, as_json),
    )


def _operate(wish: Wish, selection: Selection, manner: Manner) -> None:
    from saga_service.cli.access.requests import operate

    raise typer.Exit(run_to_end(operate(read_settings(), wish, selection, manner)))


retry_command = _of_steps("retry")
skip_command = _of_steps("skip")
cancel_command = _of_sagas("cancel")
compensate_command = _of_sagas("compensate")
pause_command = _of_sagas("pause")
resume_command = _of_sagas("resume")
