"""Where an expression stands, and how it is told of there."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from saga_service.definitions.outline import Outline, StepOutline
from saga_service.definitions.problems import SHOWN_CHARACTERS_MAX, Path


@dataclass(frozen=True, slots=True)
class Place:
    """It may speak of what the outline has, as far as the step waits for it."""

    path: Path
    step: StepOutline
    outline: Outline
    must_be_truth: bool = False

    def inside(self, name: str | int) -> Place:
        return Place((*self.path, name), self.step, self.outline)


def json_text(value: object) -> str:
    text = orjson.dumps(value, default=str).decode()
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def one_line(text: str) -> str:
    return " ".join(text.split())
