"""`settings`: the values in force and where each comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from saga_service.cli.access.effective_settings import read_settings
from saga_service.cli.console.output import AsJson, print_json
from saga_service.cli.console.tables import print_table
from saga_service.settings import effective_settings, settings_reference


def settings_command(
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference of all settings instead, as Markdown.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    if reference:
        typer.echo(settings_reference(), nl=False)
        return
    effective = effective_settings(read_settings())
    if as_json:
        print_json([setting._asdict() for setting in effective])
    else:
        rows = [(each.variable, _text(each.value), each.origin) for each in effective]
        print_table(("setting", "value", "from"), rows, texts=("value",))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)
