"""What a saga is sent and what its steps return is described as JSON Schema has it."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.definitions.outline import Outline, Wrong


def wrong_sources(outline: Outline) -> Iterator[Wrong]:
    for path, text in outline.wrong_reader:
        yield ("input", *path), text
    for step in outline.steps:
        for path, text in step.wrong_shape:
            yield step.path("output", *path), text
