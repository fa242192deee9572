"""Checks of what must hold between the keywords of a saga, and between sagas. Each finds every violation.

`CHECKS` are asked of one saga's outline: of the saga as a whole, of each step and of the pivot (`steps`), of
expressions and the names in them (`expressions`), and of what a child saga is sent (`children`). Expressions are
tried on sample values (`types`, `sample_cases`), as far as these are known. `texts` comes before all of these, and
looks at every text. `conflicts` looks at all sagas together,
and is asked once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from saga_service.definitions.checks.children import check_children
from saga_service.definitions.checks.expressions import check_expressions
from saga_service.definitions.checks.steps import (
    check_input,
    check_key,
    check_names,
    check_on_unknown,
    check_order,
    check_outputs,
    check_pivot,
    check_tasks,
    check_times,
    check_triggers,
)
from saga_service.definitions.outline import Outline
from saga_service.definitions.problems import Violation

CHECKS: tuple[Callable[[Outline], Iterator[Violation]], ...] = (
    check_input,
    check_outputs,
    check_tasks,
    check_order,
    check_pivot,
    check_on_unknown,
    check_times,
    check_expressions,
    check_children,
    check_names,
    check_triggers,
    check_key,
)

__all__ = ["CHECKS"]
