"""What must hold between the words of a saga: each rule finds all that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from saga_service.definitions.checks.children import wrong_children
from saga_service.definitions.checks.expressions import wrong_expressions
from saga_service.definitions.checks.on_unknown import wrong_answers
from saga_service.definitions.checks.pivot import wrong_kinds, wrong_order
from saga_service.definitions.checks.steps import wrong_sources, wrong_tasks, wrong_times
from saga_service.definitions.outline import Outline, Wrong

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
