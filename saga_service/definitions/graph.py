"""A saga as a Mermaid flowchart: its steps forward, its compensations back."""

from __future__ import annotations

from collections.abc import Iterator

from saga_service.core.definition import Definition, StepDefinition


def graph(definition: Definition) -> str:
    """Text for any Mermaid renderer.

    A step that is given up on leads to the undo before it; one that never answered leads to its own, since it may have
    happened.
    """
    lines = ["flowchart LR", *_steps(definition), *_undos(definition), *_failures(definition)]
    return "\n    ".join(lines) + "\n"


def _steps(definition: Definition) -> Iterator[str]:
    yield f'start(["{definition.name}"]) --> step0'
    for position, step in enumerate(definition.steps):
        yield f'step{position}["{step.name}<br/>{step.action}"]'
    ends = [f"step{position}" for position in range(len(definition.steps))] + ['completed(["completed"])']
    yield " --> ".join(ends)


def _undos(definition: Definition) -> Iterator[str]:
    undone = [position for position, step in enumerate(definition.steps) if step.compensation is not None]
    for position in undone:
        step = definition.steps[position]
        yield f'undo{position}["undo {step.name}<br/>{step.compensation}"]'
    chain = [f"undo{position}" for position in reversed(undone)] + ['compensated(["compensated"])']
    yield " --> ".join(chain)


def _failures(definition: Definition) -> Iterator[str]:
    target = "compensated"
    for position, step in enumerate(definition.steps):
        yield f"step{position} -. failed .-> {target}"
        if _is_undoable(step):
            target = f"undo{position}"
            yield f"step{position} -. no answer .-> {target}"


def _is_undoable(step: StepDefinition) -> bool:
    return step.compensation is not None
