"""The graph of a saga as a Mermaid flowchart: the order of its steps, its pivot, and how each effect is undone."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.vocabulary import Kind, Task, UndoOrder
from saga_service.definitions.expressions.cel import Condition
from saga_service.definitions.keywords import duration_text

_LABEL_CHARACTERS_MAX = 60
_SHAPES = {
    Task.COMMAND: ("[", "]"),
    Task.SLEEP: ("([", "])"),
    Task.SIGNAL: (">", "]"),
    Task.CHILD: ("[[", "]]"),
}
_PIVOT = ("{{", "}}")


def graph(definition: Definition) -> str:
    """The flowchart, as text for any Mermaid renderer.

    A box is a command, a hexagon the pivot, a rounded box a sleep, a flag a wait for a signal, and a box with double
    sides a child saga. A condition stands on the arrow to its step. A dotted arrow leads from a step to its
    compensation. Compensations stand in the order in which they follow each other once all steps are done.
    """
    lines = ["flowchart LR", *_steps(definition), *_ways(definition), *_undos(definition)]
    return "\n    ".join(lines) + "\n"


def _steps(definition: Definition) -> Iterator[str]:
    yield f'start(["{_label(definition.name)}"])'
    for place, step in enumerate(definition.steps):
        opening, closing = _PIVOT if step.kind is Kind.PIVOT else _SHAPES[step.task]
        yield f'step{place}{opening}"{_label(step.name)}<br/>{_label(_does(step))}"{closing}'
    yield 'completed(["completed"])'


def _does(step: StepDefinition) -> str:
    match step.task:
        case Task.COMMAND:
            return step.action
        case Task.SLEEP:
            return f"sleep {duration_text(step.timeout_ms)}"
        case Task.SIGNAL:
            return f"wait for {step.action}, {duration_text(step.timeout_ms)}"
        case Task.CHILD:
            return f"saga {step.action}"


def _ways(definition: Definition) -> Iterator[str]:
    waited_for: set[int] = set()
    for place, step in enumerate(definition.steps):
        before = definition.predecessors[place]
        waited_for.update(before)
        sources = [f"step{each}" for each in before] or ["start"]
        yield f"{' & '.join(sources)} {_arrow(step)} step{place}"
    last = [f"step{place}" for place in range(len(definition.steps)) if place not in waited_for]
    yield f"{' & '.join(last)} --> completed"


def _arrow(step: StepDefinition) -> str:
    return f'-->|"{_label(step.when.text)}"|' if isinstance(step.when, Condition) else "-->"


def _undos(definition: Definition) -> Iterator[str]:
    """The compensations: in reverse order as a chain, in parallel each after those of the steps that wait for it."""
    undone = [place for place, step in enumerate(definition.steps) if _is_undone(definition, place, step)]
    for place in undone:
        step = definition.steps[place]
        does = step.compensation or f"undo saga {step.action}"
        yield f'undo{place}["undo {_label(step.name)}<br/>{_label(does)}"]'
        yield f"step{place} -.-> undo{place}"
    compensated = 'compensated(["compensated"])'
    if not undone:
        yield from (f"step{place} -. failed .-> {compensated}" for place in _failing(definition)[:1])
    elif definition.undo is UndoOrder.REVERSE:
        yield " --> ".join([*(f"undo{place}" for place in reversed(undone)), compensated])
    else:
        yield compensated
        yield from (f"undo{place} --> {_next_undos(definition, place, undone)}" for place in reversed(undone))


def _failing(definition: Definition) -> list[int]:
    """The positions of the steps whose failure makes the saga compensate."""
    return [
        place
        for place, step in enumerate(definition.steps)
        if step.task is not Task.SLEEP
        and step.kind is not Kind.RETRIABLE
        and step.default is None
        and not _is_past_the_pivot(definition, place)
    ]


def _is_undone(definition: Definition, place: int, step: StepDefinition) -> bool:
    return step.is_undoable and step.kind is not Kind.PIVOT and not _is_past_the_pivot(definition, place)


def _is_past_the_pivot(definition: Definition, place: int) -> bool:
    return definition.pivot is not None and place in definition.descendants[definition.pivot]


def _next_undos(definition: Definition, place: int, undone: list[int]) -> str:
    """The compensations that wait for this one, and for none in between."""
    before = [each for each in undone if place in definition.descendants[each]]
    direct = [each for each in before if not any(other in definition.descendants[each] for other in before)]
    return " & ".join(f"undo{each}" for each in direct) or "compensated"


def _label(text: str) -> str:
    """The text on one line, its special characters escaped for Mermaid."""
    line = " ".join(text.split())
    short = line if len(line) <= _LABEL_CHARACTERS_MAX else f"{line[:_LABEL_CHARACTERS_MAX]}…"
    return short.translate(
        {ord("#"): "#35;", ord('"'): "#quot;", ord("<"): "#lt;", ord(">"): "#gt;", ord("&"): "#amp;"}
    )
