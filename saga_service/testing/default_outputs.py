"""The output of a step for which a test gives none: an example of what the step's `output` declares."""

from __future__ import annotations

from collections.abc import Iterable

from saga_service.core.definition import Definition, OutputMisfit, Shape
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Direction
from saga_service.definitions.schema.example import example_of
from saga_service.definitions.schema.outputs import OutputSchema


class NoOutput(AssertionError):
    """No output can be made up for a step. The text says how a test gives one."""


class DefaultOutputs:
    """The outputs by default of the steps of these definitions, each made once."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._steps = {(each.name, step.name): step for each in definitions for step in each.steps}
        self._made: dict[tuple[str, str], JsonObject] = {}

    def of(self, saga: str, step: str, direction: Direction) -> JsonObject:
        """The output of a command of this step; empty where none is declared, and for a compensation.

        Raises NoOutput.
        """
        defined = self._steps.get((saga, step))
        if direction is Direction.COMPENSATION or defined is None or defined.output is None:
            return {}
        if (saga, step) not in self._made:
            self._made[saga, step] = _made_up(saga, step, defined.action, defined.output)
        return self._made[saga, step]


def _made_up(saga: str, step: str, action: str, shape: Shape) -> JsonObject:
    output = example_of(shape.schema) if isinstance(shape, OutputSchema) else {}
    try:
        shape.read(output)
    except OutputMisfit as misfit:
        raise NoOutput(
            f"step '{step}' of saga '{saga}' declares an output that cannot be made up ({misfit}); give one: "
            f"sim.on('{action}').succeeds({{...}}), or every_failure's run(outputs={{'{action}': {{...}}}})"
        ) from None
    return output
