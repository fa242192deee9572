"""`definitions`: whether they are right, what they say, and how they look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saga_service.cli.access.servers import read_settings
from saga_service.cli.console.exits import CommandFailed, ExitCode
from saga_service.cli.event_loop import run_to_end

if TYPE_CHECKING:
    from saga_service.cli.access.views import DefinitionRow
    from saga_service.core.definition import Definition
    from saga_service.definitions import Catalog, DefinedSaga
    from saga_service.settings import Settings

commands = typer.Typer(no_args_is_help=True, help="Saga definitions: check, list, graph.")

Sources = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SOURCE]...", help="YAML files, directories or Python modules; else SAGA_DEFINITIONS."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@commands.command("check", epilog="Example: saga-service definitions check sagas/order.yaml shop.sagas")
def check_command(sources: Sources = None, as_json: AsJson = False) -> None:
    """Read the definitions and tell everything that is wrong, each with its place and what to write."""
    from saga_service.cli.console.output import print_json, print_line
    from saga_service.definitions import DefinitionErrors, load_definitions
    from saga_service.wire.stream_names import StreamNames

    try:
        catalog = load_definitions(_given(sources), StreamNames(read_settings().prefix))
    except DefinitionErrors as error:
        if not as_json:
            raise CommandFailed(str(error)) from None
        print_json({"sagas": [], "problems": error.problems})
        raise typer.Exit(ExitCode.PROBLEM) from None
    if as_json:
        print_json({"sagas": [spec.name for spec in catalog.specs()], "problems": []})
        return
    for spec in catalog.specs():
        print_line(f"{spec.name}: right, {len(spec.definition.steps)} steps ({spec.place})")


@commands.command("list", epilog="Example: saga-service definitions list --json")
def list_command(sources: Sources = None, as_json: AsJson = False) -> None:
    """List the sagas, what starts each, the services whose workers it needs, and how many sagas each version drives.

    Versions of an earlier deployment are listed as long as sagas go by them that have not ended.
    """
    from saga_service.cli.console.output import print_json, print_table, shape

    facts = [_facts(spec) for spec in _catalog(sources).specs()]
    try:
        facts = with_driven(facts, run_to_end(_driving(read_settings())))
    except CommandFailed as failure:
        typer.echo(f"saga-service: how many sagas each version drives is not known: {failure}", err=True)
    if as_json:
        print_json(facts)
        return
    columns = ("saga", "version", "steps", "started by", "key", "services", "defined in", "not ended")
    rows = [
        (
            fact["saga"],
            fact["version"][:12],
            shape({step["step"]: step["after"] for step in fact["steps"]}),
            ", ".join([*fact["event_types"], *(f"stream {each['stream']}" for each in fact["streams"])]),
            fact["key"] or "",
            ", ".join(fact["services"]),
            fact["place"] or "(not here)",
            "?" if fact["not_ended"] is None else str(fact["not_ended"]),
        )
        for fact in facts
    ]
    print_table(columns, rows)


async def _driving(settings: Settings) -> list[DefinitionRow]:
    from saga_service.cli.access.servers import open_postgres
    from saga_service.cli.access.views import open_definitions

    async with open_postgres(settings) as connection:
        return await open_definitions(connection)


def with_driven(facts: list[dict[str, Any]], driving: list[DefinitionRow]) -> list[dict[str, Any]]:
    """The facts with how many sagas each version drives, and those of versions that are not defined here.

    `Any`: plain values, as `_facts` has them.
    """
    here = {(fact["saga"], fact["version"]) for fact in facts}
    sagas = {(row.saga, row.version): row.open_sagas for row in driving}
    counted = [fact | {"not_ended": sagas.get((fact["saga"], fact["version"]), 0)} for fact in facts]
    others = [_facts_on_record(row) for row in driving if (row.saga, row.version) not in here]
    return sorted([*counted, *others], key=lambda fact: fact["saga"])


@commands.command("graph", epilog="Example: saga-service definitions graph --saga order > order.mmd")
def graph_command(
    sources: Sources = None,
    saga: Annotated[str | None, typer.Option(help="Only this one.")] = None,
) -> None:
    """Draw the sagas as Mermaid flowcharts: the steps, and how each is undone."""
    from saga_service.definitions import graph

    catalog = _catalog(sources)
    chosen = catalog.specs()
    if saga is not None:
        chosen = [spec for spec in chosen if spec.name == saga]
    if not chosen:
        known = ", ".join(spec.name for spec in catalog.specs())
        raise CommandFailed(f"there is no saga '{saga}'; there are: {known}")
    typer.echo("\n".join(graph(spec.definition) for spec in chosen), nl=False)


def _given(sources: list[str] | None) -> list[str]:
    given = sources or list(read_settings().definitions)
    if not given:
        raise CommandFailed(
            "no definitions are given; name YAML files or Python modules, or set SAGA_DEFINITIONS", ExitCode.USAGE
        )
    return given


def _catalog(sources: list[str] | None) -> Catalog:
    from saga_service.cli.access.definitions import load_catalog

    return load_catalog(_given(sources), read_settings().prefix, ExitCode.PROBLEM)


def _facts(spec: DefinedSaga) -> dict[str, Any]:
    """Plain values, `Any` for that, of what one saga is."""
    return {
        "saga": spec.name,
        "version": spec.version,
        "place": spec.place,
        "key": spec.key,
        "event_types": list(spec.event_types),
        "streams": [{"stream": trigger.stream, "group": trigger.group} for trigger in spec.streams],
        **_facts_of_steps(spec.definition),
        "not_ended": None,
    }


def _facts_on_record(row: DefinitionRow) -> dict[str, Any]:
    """The same of a version that is not defined here. What started its sagas is not on record."""
    from saga_service.definitions import UnreadableDocument, definition_from_document

    try:
        steps = _facts_of_steps(definition_from_document(row.document))
    except UnreadableDocument:
        # Of a later release, which drives its sagas; that there are some is still worth a line.
        steps = {"services": [], "steps": []}
    return {
        "saga": row.saga,
        "version": row.version,
        "place": None,
        "key": row.document.get("key"),
        "event_types": [],
        "streams": [],
        **steps,
        "not_ended": row.open_sagas,
    }


def _facts_of_steps(definition: Definition) -> dict[str, Any]:
    from saga_service.definitions.saga_spec import services_of

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
