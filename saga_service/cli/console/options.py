"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

ANSWER_TIMEOUT_S = 10.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Target = Annotated[str, typer.Argument(metavar="SAGA_ID|KEY", help="The saga's id, or its business key.")]
Definition = Annotated[
    str | None, typer.Option("--saga", help="The saga's definition, for a key that several definitions know.")
]
Data = Annotated[
    str | None, typer.Option(metavar="JSON", help="The data as a JSON object; - reads it from standard input.")
]
AnswerTimeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="How long to wait for the service's answer, in seconds.")
]
