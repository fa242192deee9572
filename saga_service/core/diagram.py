"""The state machine as Mermaid state diagrams, drawn from its tables, so that no drawing can differ from them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from saga_service.core.transitions import (
    EVALUATION_MOVES,
    SAGA_TRANSITIONS,
    STATUS_OF,
    STEP_MOVES,
    Stimulus,
)
from saga_service.core.vocabulary import ENDED, SagaStatus, StepStatus

Move = tuple[str, str, str]
"""From, to, and what makes it move."""


def step_moves() -> list[Move]:
    """Every change of a step's status, by a stimulus of its own or by an evaluation of the saga."""
    by_rule = [
        (status.value, target.value, _words(stimulus))
        for (status, stimulus), targets in STEP_MOVES.items()
        for target in targets
    ]
    by_evaluation = [
        (status.value, target.value, why) for why, (statuses, target) in EVALUATION_MOVES.items() for status in statuses
    ]
    return by_rule + by_evaluation


def saga_moves() -> list[Move]:
    """Every change of a saga's status, by the condition that an evaluation finds it in."""
    return [
        (before.value, STATUS_OF[condition].value, condition.value)
        for before, conditions in SAGA_TRANSITIONS.items()
        for condition in conditions
        if STATUS_OF[condition] is not before
    ]


def step_diagram() -> str:
    return _diagram(StepStatus.PENDING, step_moves(), ends=())


def saga_diagram() -> str:
    return _diagram(SagaStatus.RUNNING, saga_moves(), ends=sorted(ENDED))


def state_diagram() -> str:
    """Both, as a page of Markdown, for docs/state-machine.md."""
    return _PAGE.format(saga=saga_diagram(), step=step_diagram())


def _words(stimulus: Stimulus) -> str:
    return stimulus.value.replace("_", " ")


def _diagram(first: str, moves: Iterable[Move], ends: Iterable[str]) -> str:
    # One arrow for each pair, with all that makes it move: Mermaid draws parallel arrows over each other.
    arrows = [
        f"{before} --> {after}: {'<br/>'.join(cause for _, _, cause in group)}"
        for (before, after), group in groupby(sorted(moves, key=lambda move: move[:2]), key=lambda move: move[:2])
    ]
    lines = ["stateDiagram-v2", f"[*] --> {first}", *arrows, *(f"{end} --> [*]" for end in ends)]
    return "\n    ".join(lines)


_PAGE = """\
# The state machine

<!-- Made by `python -m saga_service.core.diagram`. Change saga_service/core/transitions.py instead. -->

The tables in `saga_service/core/transitions.py`, drawn. An event that is not drawn changes nothing. It
either repeats what is known and is ignored, or it is impossible and is refused with a reason.

## A saga

After each change of a step the saga is evaluated; the condition that it is in decides its status.

```mermaid
{saga}
```

A late success of a step that was given up on takes even a compensated saga back to compensating: its effect is undone
in its turn. A stuck saga has not ended; it goes on when the undo that it is stuck at succeeds after all.

## A step

Each arrow has every stimulus, and every reason of an evaluation, that can lead along it. Which of several arrows is
taken depends on the attempts that are left, and on whether any attempt was left unanswered.

```mermaid
{step}
```
"""


if __name__ == "__main__":
    print(state_diagram(), end="")  # noqa: T201  # a program that prints
