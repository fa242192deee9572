"""The state machine as Mermaid state diagrams, drawn from its tables, so that a drawing cannot say anything else."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from saga_service.core.transitions import SAGA_TRANSITIONS, STATUS_OF, STEP_RULES, STEP_TRANSITIONS
from saga_service.core.vocabulary import ENDED, SagaStatus, StepStatus

Move = tuple[str, str, str]
"""From, to, and what makes it move."""

STEP_TURNS: dict[str, tuple[tuple[StepStatus, ...], StepStatus]] = {
    "its turn has come": ((StepStatus.PENDING,), StepStatus.DISPATCHED),
    "its turn to wait has come": ((StepStatus.PENDING,), StepStatus.WAITING),
    "its condition does not hold": ((StepStatus.PENDING,), StepStatus.SKIPPED),
    "its input cannot be made": ((StepStatus.PENDING,), StepStatus.FAILED),
    "the saga turns round": ((StepStatus.WAITING,), StepStatus.SKIPPED),
    "the saga turns round while it waits": ((StepStatus.PENDING,), StepStatus.FAILED),
    "its turn to be undone has come": (
        (StepStatus.SUCCEEDED, StepStatus.UNKNOWN, StepStatus.SKIPPED),
        StepStatus.COMPENSATING,
    ),
}
"""What the saga's look at itself does to a step: why, the statuses that it may be at, and its new one."""


def step_moves() -> list[Move]:
    """Every change of a step's status, by a stimulus of its own or because the saga looked at itself."""
    by_rule = [
        (status.value, target.value, stimulus.value)
        for (status, stimulus), rule in STEP_RULES.items()
        for target in STEP_TRANSITIONS[rule]
    ]
    by_turn = [
        (status.value, target.value, why) for why, (statuses, target) in STEP_TURNS.items() for status in statuses
    ]
    return by_rule + by_turn


def saga_moves() -> list[Move]:
    """Every change of a saga's status, by what it finds when it looks at itself."""
    return [
        (before.value, STATUS_OF[finding].value, finding.value)
        for before, findings in SAGA_TRANSITIONS.items()
        for finding in findings
        if STATUS_OF[finding] is not before
    ]


def step_diagram() -> str:
    return _diagram(StepStatus.PENDING, step_moves(), ends=())


def saga_diagram() -> str:
    return _diagram(SagaStatus.RUNNING, saga_moves(), ends=sorted(ENDED))


def state_diagram() -> str:
    """Both, as a page of Markdown, for docs/state-machine.md."""
    return _PAGE.format(saga=saga_diagram(), step=step_diagram())


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

The tables in `saga_service/core/transitions.py`, drawn. What is not drawn changes nothing: it is either known already
and passed over, or it cannot be and is refused with a reason.

## A saga

After each change of a step the saga looks at itself; what it finds decides where it goes.

```mermaid
{saga}
```

A late success of a step that was given up on takes even a compensated saga back to compensating: what took effect is
undone in its turn. A stuck saga has not ended; it goes on when the undo that it is stuck at succeeds after all.

## A step

Each arrow bears every stimulus that can lead along it. Which of several arrows is taken depends on the attempts that
are left, and on whether any attempt was left without an answer.

```mermaid
{step}
```
"""


if __name__ == "__main__":
    print(state_diagram(), end="")  # noqa: T201  # a program that prints
