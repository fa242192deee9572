"""The steps of a saga on one line: a chain with arrows, what runs side by side in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise


def shape(after: Mapping[str, Sequence[str]]) -> str:
    """`after` has the steps in their order, each with those that it waits for.

    `plan → (left | right) → join`. Any other graph fits no line that would not lie: its names are listed.
    """
    stages = _stages(after)
    if all(set(after[step]) == set(before) for before, stage in pairwise(stages) for step in stage):
        return " → ".join(stage[0] if len(stage) == 1 else f"({' | '.join(stage)})" for stage in stages)
    return ", ".join(after)


def _stages(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Steps with equally many stages before them."""
    stage_of: dict[str, int] = {}
    for step, awaited in after.items():
        stage_of[step] = 1 + max((stage_of[each] for each in awaited), default=-1)
    last = max(stage_of.values(), default=-1)
    return [[step for step, stage in stage_of.items() if stage == number] for number in range(last + 1)]
