"""`settings`: what is in force and where it comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.cli.access.servers import read_settings


def settings_command(
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference of all settings instead, as Markdown.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the settings in force and where each comes from. Passwords are not shown."""
    from saga_service.cli.console.output import print_json, print_table
    from saga_service.settings import effective_settings, settings_reference

    if reference:
        typer.echo(settings_reference(), nl=False)
        return
    effective = effective_settings(read_settings())
    if as_json:
        print_json([setting._asdict() for setting in effective])
    else:
        print_table(
            ("setting", "value", "from"), [(each.variable, _text(each.value), each.origin) for each in effective]
        )


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
