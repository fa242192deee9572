"""`definitions`: check them, list them, draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer

from saga_service.admin.definitions import given_sources, load_catalog
from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.text import quoted
from saga_service.admin.views import DefinitionRow, definitions_in_force, definitions_of_open_sagas
from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.access.postgres import open_postgres
from saga_service.cli.console.output import AsJson, print_json, print_line
from saga_service.cli.console.tables import print_table
from saga_service.cli.exits import ExitCode
from saga_service.cli.invocation import run_to_end
from saga_service.core.definition import Definition
from saga_service.definitions import (
    Catalog,
    DefinedSaga,
    DefinitionErrors,
    UnreadableDocument,
    definition_from_document,
    graph,
    load_definitions,
)
from saga_service.definitions.document import services_of
from saga_service.settings import Settings
from saga_service.wire.transport import StreamNames

commands = typer.Typer(no_args_is_help=True)

Sources = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SOURCE]...", help="YAML files, directories or Python modules; else SAGA_DEFINITIONS."),
]


@commands.command("check", epilog="Example: saga-service definitions check sagas/order.yaml shop.sagas")
def check_command(sources: Sources = None, as_json: AsJson = False) -> None:
    """Read the definitions and print every error, each with its place and what to write.

    What does not fit the workers is found by `saga-service check`.
    """
    settings = read_settings(for_modules=True)
    try:
        catalog = load_definitions(given_sources(sources, settings), StreamNames(settings.stream_prefix))
    except DefinitionErrors as error:
        if not as_json:
            raise Failure(str(error)) from None
        print_json({"sagas": [], "problems": error.problems})
        raise typer.Exit(ExitCode.PROBLEM) from None
    if as_json:
        print_json({"sagas": [spec.name for spec in catalog.specs()], "problems": []})
        return
    for spec in catalog.specs():
        count = len(spec.definition.steps)
        steps = "1 step" if count == 1 else f"{count} steps"
        print_line(f"{spec.name}: right, {steps} ({spec.place})")


@commands.command("list", epilog="Example: saga-service definitions list --json")
def list_command(sources: Sources = None, as_json: AsJson = False) -> None:
    """List the definitions: what starts each, the services whose workers it needs, and its open sagas.

    A version of an earlier deployment is listed as long as sagas of it are open, that is, have not ended. Without a
    SOURCE, and without SAGA_DEFINITIONS, the definitions that are deployed are listed.
    """
    settings = read_settings(for_modules=True)
    given = sources or settings.definitions
    facts = _facts_of_given(given, settings) if given else _facts_in_force(settings)
    if as_json:
        print_json(facts)
        return
    columns = ("saga", "version", "steps", "started by", "key", "services", "defined in", "open sagas")
    rows = [
        (
            fact["saga"],
            fact["version"][:12],
            step_chain({step["step"]: step["after"] for step in fact["steps"]}),
            ", ".join([*fact["event_types"], *(f"stream {each['stream']}" for each in fact["streams"])]),
            fact["key"] or "",
            ", ".join(fact["services"]),
            fact["defined_in"] or "(not here)",
            "?" if fact["open_sagas"] is None else str(fact["open_sagas"]),
        )
        for fact in facts
    ]
    print_table(columns, rows, texts=("steps", "started by", "services", "defined in"))


def _facts_of_given(given: Sequence[str], settings: Settings) -> list[dict[str, Any]]:
    catalog = load_catalog(given, settings.stream_prefix, FailureKind.PROBLEM)
    facts = [_facts(spec) for spec in catalog.specs()]
    try:
        return with_open_sagas(facts, run_to_end(_open_sagas(settings)))
    except Failure as failure:
        typer.echo(f"saga-service: how many sagas of each version are open is not known: {failure}", err=True)
        return facts


def _facts_in_force(settings: Settings) -> list[dict[str, Any]]:
    facts = [_registered_facts(row) for row in run_to_end(_in_force(settings))]
    if not facts:
        raise Failure(
            "no definitions are given, and none is deployed",
            "name YAML files or Python modules, or set SAGA_DEFINITIONS",
            kind=FailureKind.INVALID,
        )
    return facts


async def _in_force(settings: Settings) -> list[DefinitionRow]:
    async with open_postgres(settings) as connection:
        return await definitions_in_force(connection)


async def _open_sagas(settings: Settings) -> list[DefinitionRow]:
    async with open_postgres(settings) as connection:
        return await definitions_of_open_sagas(connection)


def with_open_sagas(facts: list[dict[str, Any]], registered: list[DefinitionRow]) -> list[dict[str, Any]]:
    """The facts with the number of open sagas, and the registered versions that are not defined here.

    `Any`: plain values, as `_facts` has them.
    """
    here = {(fact["saga"], fact["version"]) for fact in facts}
    counts = {(row.saga, row.version): row.open_sagas for row in registered}
    counted = [fact | {"open_sagas": counts.get((fact["saga"], fact["version"]), 0)} for fact in facts]
    others = [_registered_facts(row) for row in registered if (row.saga, row.version) not in here]
    return sorted([*counted, *others], key=lambda fact: fact["saga"])


@commands.command("graph", epilog="Example: saga-service definitions graph --saga order > order.mmd")
def graph_command(
    sources: Sources = None,
    saga: Annotated[str | None, typer.Option(help="Only this one.")] = None,
) -> None:
    """Draw the sagas as Mermaid flowcharts: the steps, and how each is undone."""
    catalog = _catalog(sources)
    chosen = catalog.specs()
    if saga is not None:
        chosen = [spec for spec in chosen if spec.name == saga]
        if not chosen:
            known = ", ".join(spec.name for spec in catalog.specs())
            raise Failure(f"there is no saga {quoted(saga)}", f"there are: {known}")
    typer.echo("\n".join(graph(spec.definition) for spec in chosen), nl=False)


def _catalog(sources: list[str] | None) -> Catalog:
    settings = read_settings(for_modules=True)
    return load_catalog(given_sources(sources, settings), settings.stream_prefix, FailureKind.PROBLEM)


def _facts(spec: DefinedSaga) -> dict[str, Any]:
    """The facts of one definition. `Any`: plain values."""
    return {
        "saga": spec.name,
        "version": spec.version,
        "defined_in": spec.place,
        "key": spec.key,
        "event_types": list(spec.event_types),
        "streams": [{"stream": trigger.stream, "group": trigger.group} for trigger in spec.streams],
        **_step_facts(spec.definition),
        "open_sagas": None,
    }


def _registered_facts(row: DefinitionRow) -> dict[str, Any]:
    """The facts of a version that is not defined here. Triggers are not part of what is registered."""
    try:
        steps = _step_facts(definition_from_document(row.document))
    except UnreadableDocument:
        # Of a later release. That sagas of it are open is still worth a line.
        steps = {"services": [], "steps": []}
    return {
        "saga": row.saga,
        "version": row.version,
        "defined_in": None,
        "key": row.document.get("key"),
        "event_types": [],
        "streams": [],
        **steps,
        "open_sagas": row.open_sagas,
    }


def _step_facts(definition: Definition) -> dict[str, Any]:
    return {
        "services": sorted(set(services_of(definition))),
        "steps": [
            {
                "step": step.name,
                "action": step.action,
                "compensation": step.compensation,
                "after": [definition.steps[place].name for place in awaited],
            }
            for step, awaited in zip(definition.steps, definition.predecessors, strict=True)
        ],
    }


def step_chain(after: Mapping[str, Sequence[str]]) -> str:
    """The steps on one line: `plan → (left | right) → join`. `after` has the steps that each step waits for.

    A graph that is no chain of stages has no such line; its steps are listed with commas.
    """
    stages = _stages(after)
    if all(set(after[step]) == set(before) for before, stage in pairwise(stages) for step in stage):
        return " → ".join(stage[0] if len(stage) == 1 else f"({' | '.join(stage)})" for stage in stages)
    return ", ".join(after)


def _stages(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The steps grouped by the number of stages before them."""
    stage_of: dict[str, int] = {}
    for step, awaited in after.items():
        stage_of[step] = 1 + max((stage_of[each] for each in awaited), default=-1)
    last = max(stage_of.values(), default=-1)
    return [[step for step, stage in stage_of.items() if stage == number] for number in range(last + 1)]
