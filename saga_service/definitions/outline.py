"""A saga's steps as far as they can be made out from what was written: who waits for whom, and what each is.

The rules are asked of this and not of the validated model, so that they speak of a saga that has other errors too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from saga_service.core.vocabulary import Kind, Task
from saga_service.definitions.keywords import duration_ms, kind_of, task_of
from saga_service.definitions.problems import Path
from saga_service.definitions.schema.inputs import Input
from saga_service.definitions.schema.outputs import SchemaShape
from saga_service.definitions.schema.source import read_input_source, read_output_source
from saga_service.definitions.sources.positions import mappings

Wrong = tuple[Path, str]
"""Where in the saga, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class StepOutline:
    position: int
    written: Mapping[str, Any]
    ancestors: frozenset[int]
    """The positions of the steps that this one waits for, directly or not."""
    shape: SchemaShape | None = None
    """What its output fits, where that is said, and said right."""
    wrong_shape: Sequence[Wrong] = ()

    @property
    def name(self) -> str:
        """As errors call it: by its place where it has no name."""
        name = self.written.get("name")
        return name if isinstance(name, str) else f"steps[{self.position}]"

    @property
    def task(self) -> Task | None:
        return task_of(self.written)

    @property
    def kind(self) -> Kind:
        return kind_of(self.written)

    @property
    def when(self) -> str | None:
        """Its condition, where that is text."""
        when = self.written.get("when")
        return when if isinstance(when, str) else None

    @property
    def is_work(self) -> bool:
        """Whether a worker or another saga does something that may have to be undone."""
        return self.task in (Task.COMMAND, Task.CHILD)

    def path(self, *more: str | int) -> Path:
        return ("steps", self.position, *more)


@dataclass(frozen=True, slots=True)
class Outline:
    written: Mapping[str, Any]
    steps: tuple[StepOutline, ...]
    reader: Input | None
    """What reads the saga's input, where that is right."""
    wrong_reader: Sequence[Wrong] = ()
    family: Family = field(default_factory=dict, repr=False)
    """The sagas that may be children of this one."""

    @property
    def names(self) -> list[str]:
        return [step.name for step in self.steps]

    def position_of(self, name: str) -> int | None:
        """That of the first step with this name."""
        names = self.names
        return names.index(name) if name in names else None


Family = Mapping[str, Outline]
"""Sagas by their names."""


def outlines_of(contents: Sequence[object]) -> list[Outline]:
    """One for each of the sagas, which know one another; what is no saga has no steps."""
    family: dict[str, Outline] = {}
    outlines = [replace(outline_of(each if isinstance(each, dict) else {}), family=family) for each in contents]
    for outline in outlines:
        name = outline.written.get("name")
        if isinstance(name, str):
            family.setdefault(name, outline)
    return outlines


def outline_of(content: Mapping[str, Any]) -> Outline:
    reader, wrong = read_input_source(content.get("input"))
    return Outline(content, tuple(_step_outlines(mappings(content.get("steps")))), reader, wrong)


def _step_outlines(written: Sequence[Mapping[str, Any]]) -> Iterator[StepOutline]:
    names = [step.get("name") for step in written]
    ancestors: list[frozenset[int]] = []
    for position, step in enumerate(written):
        before = list(_waited_for(step, position, names))
        ancestors.append(frozenset(before).union(*(ancestors[each] for each in before)))
        shape, wrong = read_output_source(step["output"]) if "output" in step else (None, [])
        yield StepOutline(position, step, ancestors[position], shape, wrong)


def _waited_for(step: Mapping[str, Any], position: int, names: Sequence[object]) -> Iterator[int]:
    after = after_of(step)
    if after is None:
        yield from range(max(position - 1, 0), position)
    for name in after or ():
        if name in names[:position]:
            yield names.index(name)


def after_of(step: Mapping[str, Any]) -> list[str] | None:
    """The names that the step says it waits for; None where it says nothing that can be read."""
    after = step.get("after")
    if isinstance(after, str):
        return [after]
    return [name for name in after if isinstance(name, str)] if isinstance(after, list) else None


def milliseconds_of(written: Mapping[str, Any], word: str) -> int | None:
    """A duration, where it is given and right."""
    if word not in written:
        return None
    try:
        return duration_ms(written[word])
    except ValueError:
        return None
