"""The outline of a saga: its steps as far as they can be made out from what the author wrote.

Checks look at the outline and not at the validated model, so that they find what is wrong with a saga that has other
errors as well: every error is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from saga_service.core.vocabulary import Kind, Task
from saga_service.definitions.keywords import defaults_of, duration_ms, kind_of, task_of, with_defaults
from saga_service.definitions.model import readable_defaults
from saga_service.definitions.problems import Path, Violation, mappings
from saga_service.definitions.schema.inputs import Input
from saga_service.definitions.schema.outputs import OutputSchema
from saga_service.definitions.schema.source import read_input_source, read_output_source
from saga_service.definitions.values import likely_name


@dataclass(frozen=True, slots=True)
class StepOutline:
    """One step as its author wrote it, with its place among the others."""

    position: int
    content: Mapping[str, Any]
    ancestors: frozenset[int]
    """The positions of the steps that this one waits for, directly or not."""
    output_schema: OutputSchema | None = None
    """The description of its output, where there is one that can be used."""
    output_violations: Sequence[Violation] = ()

    @property
    def name(self) -> str:
        """The name by which errors call the step: its place, where it has no name."""
        name = self.content.get("name")
        return name if isinstance(name, str) else f"steps[{self.position}]"

    @property
    def task(self) -> Task | None:
        return task_of(self.content)

    @property
    def kind(self) -> Kind:
        return kind_of(self.content)

    @property
    def when(self) -> str | None:
        """The step's condition, where that is text."""
        when = self.content.get("when")
        return when if isinstance(when, str) else None

    @property
    def timeout_ms(self) -> int:
        """The step's timeout; the default where none is written, or none that can be read."""
        return milliseconds_of(self.content, "timeout") or duration_ms(defaults_of(self.content)["timeout"])

    @property
    def has_effects(self) -> bool:
        """True if a worker or another saga does something that may have to be undone."""
        return self.task in (Task.COMMAND, Task.CHILD)

    def path(self, *more: str | int) -> Path:
        return ("steps", self.position, *more)


@dataclass(frozen=True, slots=True)
class Outline:
    """One saga as its author wrote it."""

    content: Mapping[str, Any]
    """The saga, with its own defaults in the steps that they are for."""
    steps: tuple[StepOutline, ...]
    reader: Input | None
    """Reads the saga's input, where the description of that can be used."""
    input_violations: Sequence[Violation] = ()
    sagas_by_name: SagasByName = field(default_factory=dict, repr=False)
    """The sagas that may be children of this one."""

    @property
    def names(self) -> list[str]:
        return [step.name for step in self.steps]

    def position_of(self, name: str) -> int | None:
        """The position of the first step with this name."""
        return _place_of(name, self.names)


SagasByName = Mapping[str, Outline]


def outlines_of(contents: Sequence[object]) -> list[Outline]:
    """One outline for each of the sagas, which know one another; a value that is no saga has no steps."""
    by_name: dict[str, Outline] = {}
    sagas = [content if isinstance(content, dict) else {} for content in contents]
    outlines = [replace(outline_of(saga), sagas_by_name=by_name) for saga in sagas]
    for outline in outlines:
        name = outline.content.get("name")
        if isinstance(name, str):
            by_name.setdefault(name, outline)
    return outlines


def outline_of(content: Mapping[str, Any]) -> Outline:
    """The outline of a saga that knows no other. Its content has the saga's own defaults in the steps they are for."""
    reader, violations = read_input_source(content.get("input"))
    completed = _with_defaults(content)
    return Outline(completed, tuple(_step_outlines(mappings(completed.get("steps")))), reader, violations)


def _with_defaults(content: Mapping[str, Any]) -> Mapping[str, Any]:
    defaults, steps = readable_defaults(content), content.get("steps")
    if not defaults or not isinstance(steps, list):
        return content
    return {**content, "steps": [with_defaults(step, defaults) if isinstance(step, dict) else step for step in steps]}


def _step_outlines(steps: Sequence[Mapping[str, Any]]) -> Iterator[StepOutline]:
    names = [step.get("name") for step in steps]
    ancestors: list[frozenset[int]] = []
    for position, step in enumerate(steps):
        before = list(_waited_for(step, position, names))
        ancestors.append(frozenset(before).union(*(ancestors[each] for each in before)))
        schema, violations = read_output_source(step["output"]) if "output" in step else (None, [])
        yield StepOutline(position, step, ancestors[position], schema, violations)


def _waited_for(step: Mapping[str, Any], position: int, names: Sequence[object]) -> Iterator[int]:
    after = after_of(step)
    if after is None:
        yield from range(max(position - 1, 0), position)
    for name in after or ():
        place = _place_of(name, names[:position])
        if place is not None:
            yield place


def _place_of(name: str, names: Sequence[object]) -> int | None:
    """The place of the first step with this name, or of one whose name is wrong and should be this one."""
    if name in names:
        return names.index(name)
    likely = [likely_name(each) for each in names]
    return likely.index(name) if name in likely else None


def after_of(step: Mapping[str, Any]) -> list[str] | None:
    """The names at the step's `after`; None where there is none, or none that can be read."""
    after = step.get("after")
    if isinstance(after, str):
        return [after]
    return [name for name in after if isinstance(name, str)] if isinstance(after, list) else None


def milliseconds_of(content: Mapping[str, Any], keyword: str) -> int | None:
    """The duration at the keyword; None where there is none, or none that can be read."""
    if keyword not in content:
        return None
    try:
        return duration_ms(content[keyword])
    except ValueError:
        return None
