"""What must hold between the words of a saga: each rule finds all that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from saga_service.definitions.outline import Outline, Wrong
from saga_service.definitions.rules.answers import wrong_answers
from saga_service.definitions.rules.children import wrong_children
from saga_service.definitions.rules.expressions import wrong_expressions
from saga_service.definitions.rules.kinds import wrong_kinds
from saga_service.definitions.rules.order import wrong_order
from saga_service.definitions.rules.sources import wrong_sources
from saga_service.definitions.rules.tasks import wrong_tasks
from saga_service.definitions.rules.times import wrong_times

RULES: tuple[Callable[[Outline], Iterator[Wrong]], ...] = (
    wrong_sources,
    wrong_tasks,
    wrong_order,
    wrong_kinds,
    wrong_answers,
    wrong_times,
    wrong_expressions,
    wrong_children,
)

__all__ = ["RULES"]
