"""The outcomes of requests to sagas (operations and signals), in words and as an exit code."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from saga_service.admin.requests import REFUSED, REPEATED, RequestOutcome
from saga_service.admin.text import shell_word
from saga_service.cli.exits import ExitCode


def in_words(outcome: RequestOutcome, done: str) -> str:
    """One line on one saga. `done` is the word for a request that was applied."""
    saga_id = outcome.saga_id
    name = f"{outcome.saga} {shell_word(outcome.key)} ({saga_id})" if outcome.key else f"{outcome.saga} {saga_id}"
    if outcome.verdict is None:
        return f"{name}: not answered yet"
    if outcome.verdict == REFUSED:
        return f"{name}: refused: {outcome.reason}"
    if outcome.verdict == REPEATED:
        return f"{name}: nothing new: {outcome.reason}"
    return f"{name}: {done}; the saga is now {outcome.status}"


def exit_code(outcomes: Sequence[RequestOutcome], timeout_s: float) -> ExitCode:
    """The exit code of all requests. Those without an answer are counted on standard error."""
    unanswered = sum(each.verdict is None for each in outcomes)
    if unanswered:
        typer.echo(f"saga-service: {_unanswered(unanswered, len(outcomes), timeout_s)}", err=True)
        return ExitCode.NOT_YET
    return ExitCode.PROBLEM if any(each.verdict == REFUSED for each in outcomes) else ExitCode.FINE


def _unanswered(unanswered: int, requested: int, timeout_s: float) -> str:
    if unanswered < requested:
        return f"{unanswered:,} of {requested:,} not answered within {timeout_s:g} s; they stay and will be carried out"
    stays = "the request stays" if requested == 1 else "the requests stay"
    return f"no replica answered within {timeout_s:g} s; is one running? {stays} and will be carried out"
