"""`definitions`: whether they are right, what they say, and how they look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saga_service.cli.configuration import read_settings
from saga_service.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.definitions import Catalog, SagaBlueprint

commands = typer.Typer(no_args_is_help=True, help="Saga definitions: check, list, graph.")

Sources = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SOURCE]...", help="YAML files, directories or Python modules; else SAGA_DEFINITIONS."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@commands.command("check", epilog="Example: saga-service definitions check sagas/order.yaml shop.sagas")
def check_command(sources: Sources = None, as_json: AsJson = False) -> None:
    """Read the definitions and tell everything that is wrong, each with its place and what to write."""
    from saga_service.cli.output import print_json, print_line
    from saga_service.definitions import DefinitionErrors, load_definitions
    from saga_service.wire.keys import StreamNames

    try:
        catalog = load_definitions(_given(sources), StreamNames(read_settings().prefix))
    except DefinitionErrors as error:
        if not as_json:
            raise CommandFailed(str(error)) from None
        print_json({"sagas": [], "problems": error.problems})
        raise typer.Exit(ExitCode.PROBLEM) from None
    if as_json:
        print_json({"sagas": [blueprint.name for blueprint in catalog.blueprints()], "problems": []})
        return
    for blueprint in catalog.blueprints():
        print_line(f"{blueprint.name}: right, {len(blueprint.definition.steps)} steps ({blueprint.place})")


@commands.command("list", epilog="Example: saga-service definitions list --json")
def list_command(sources: Sources = None, as_json: AsJson = False) -> None:
    """List the sagas, what starts each, and the services whose workers it needs."""
    from saga_service.cli.output import print_json, print_table

    facts = [_facts(blueprint) for blueprint in _catalog(sources).blueprints()]
    if as_json:
        print_json(facts)
        return
    columns = ("saga", "version", "steps", "started by", "key", "services", "defined in")
    rows = [
        (
            fact["saga"],
            fact["version"][:12],
            " → ".join(step["step"] for step in fact["steps"]),
            ", ".join([*fact["event_types"], *(f"stream {each['stream']}" for each in fact["streams"])]),
            fact["key"] or "",
            ", ".join(fact["services"]),
            fact["place"],
        )
        for fact in facts
    ]
    print_table(columns, rows)


@commands.command("graph", epilog="Example: saga-service definitions graph --saga order > order.mmd")
def graph_command(
    sources: Sources = None,
    saga: Annotated[str | None, typer.Option(help="Only this one.")] = None,
) -> None:
    """Draw the sagas as Mermaid flowcharts: the steps, and how each is undone."""
    from saga_service.definitions import graph

    catalog = _catalog(sources)
    chosen = catalog.blueprints()
    if saga is not None:
        chosen = [blueprint for blueprint in chosen if blueprint.name == saga]
    if not chosen:
        known = ", ".join(blueprint.name for blueprint in catalog.blueprints())
        raise CommandFailed(f"there is no saga '{saga}'; there are: {known}")
    typer.echo("\n".join(graph(blueprint.definition) for blueprint in chosen), nl=False)


def _given(sources: list[str] | None) -> list[str]:
    given = sources or list(read_settings().definitions)
    if not given:
        raise CommandFailed(
            "no definitions are given; name YAML files or Python modules, or set SAGA_DEFINITIONS", ExitCode.USAGE
        )
    return given


def _catalog(sources: list[str] | None) -> Catalog:
    from saga_service.cli.definition_sources import load_catalog

    return load_catalog(_given(sources), read_settings().prefix, ExitCode.PROBLEM)


def _facts(blueprint: SagaBlueprint) -> dict[str, Any]:
    """Plain values, `Any` for that, of what one saga is."""
    return {
        "saga": blueprint.name,
        "version": blueprint.version,
        "place": blueprint.place,
        "key": blueprint.key,
        "event_types": list(blueprint.event_types),
        "streams": [{"stream": trigger.stream, "group": trigger.group} for trigger in blueprint.streams],
        "services": sorted(set(blueprint.services())),
        "steps": [
            {"step": step.name, "action": step.action, "compensation": step.compensation}
            for step in blueprint.definition.steps
        ],
    }
