"""Every change of a status, traced while sagas live: by which rule, by an evaluation, or by both in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import SupportsIndex, overload

import pytest

from saga_service.core import advance, machine, operations, timers
from saga_service.core.draft import Draft, Reaction
from saga_service.core.machine import evaluate
from saga_service.core.rules import RULES
from saga_service.core.state import StepState
from saga_service.core.transitions import Rule, Stimulus
from saga_service.core.vocabulary import SagaStatus, StepStatus

RuleMove = tuple[StepStatus, Stimulus, StepStatus]
EvaluationMove = tuple[StepStatus, StepStatus]
SagaMove = tuple[SagaStatus, SagaStatus]


class TracedMoves:
    """The moves seen since `trace`; a move by a rule is one even where the status stays."""

    def __init__(self) -> None:
        self.by_rule: set[RuleMove] = set()
        self.by_evaluation: set[EvaluationMove] = set()
        self.of_saga: set[SagaMove] = set()
        self._reacting: tuple[Reaction, StepStatus] | None = None

    def trace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for rule, apply in dict(RULES).items():
            monkeypatch.setitem(RULES, rule, self._traced_rule(rule, apply))
        for module in (advance, machine, operations, timers):
            monkeypatch.setattr(module, "evaluate", self._evaluate)
        init = Draft.__init__

        def traced_init(draft: Draft, *given: object) -> None:
            init(draft, *given)  # type: ignore[arg-type]  # the tracer passes on what it is given
            draft.steps = _TracedSteps(draft.steps, self)

        monkeypatch.setattr(Draft, "__init__", traced_init)

    def _traced_rule(self, rule: Rule, apply: Callable[[Reaction], None]) -> Callable[[Reaction], None]:
        def traced(reaction: Reaction) -> None:
            self._reacting = reaction, reaction.step.status
            apply(reaction)

        return traced

    def _evaluate(self, draft: Draft) -> None:
        if self._reacting is not None:
            reaction, before = self._reacting
            self._reacting = None
            self.by_rule.add((before, reaction.stimulus, reaction.step.status))
        was = draft.before.status if not draft.history else draft.history[-1].status
        evaluate(draft)
        self.of_saga.add((was, draft.status))

    def step_set(self, position: int, before: StepStatus, after: StepStatus) -> None:
        if self._reacting is not None and self._reacting[0].position == position:
            return
        if before is not after:
            self.by_evaluation.add((before, after))


class _TracedSteps(list[StepState]):
    def __init__(self, steps: Iterable[StepState], moves: TracedMoves) -> None:
        super().__init__(steps)
        self._moves = moves

    @overload
    def __setitem__(self, position: SupportsIndex, step: StepState) -> None: ...
    @overload
    def __setitem__(self, position: slice, step: Iterable[StepState]) -> None: ...
    def __setitem__(self, position: SupportsIndex | slice, step: StepState | Iterable[StepState]) -> None:
        assert isinstance(position, int), "one step at a time"
        assert isinstance(step, StepState), "one step at a time"
        self._moves.step_set(position, self[position].status, step.status)
        super().__setitem__(position, step)
