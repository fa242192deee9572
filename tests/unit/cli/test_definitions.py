"""A saga's steps on one line say what they are: a chain, branches side by side, or a graph that fits no line."""

from __future__ import annotations

import pytest

from saga_service.cli.commands.definitions import step_chain


@pytest.mark.parametrize(
    ("after", "line"),
    [
        ({}, ""),
        ({"one": []}, "one"),
        ({"one": [], "two": ["one"], "three": ["two"]}, "one → two → three"),
        (
            {"plan": [], "left": ["plan"], "right": ["plan"], "join": ["left", "right"]},
            "plan → (left | right) → join",
        ),
        ({"left": [], "right": []}, "(left | right)"),
        ({"a": [], "b": ["a"], "c": ["a"], "d": ["b"], "e": ["c", "d"]}, "a, b, c, d, e"),
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, "a, b, c"),
    ],
)
def test_what_runs_side_by_side_is_not_drawn_as_a_chain(after: dict[str, list[str]], line: str) -> None:
    assert step_chain(after) == line
