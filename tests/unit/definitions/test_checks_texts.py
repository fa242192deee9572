"""A text that Postgres cannot store is told when a definition is checked, and where it stands, never at its storing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from saga_service.definitions import DefinitionErrors, Retry, Saga, Step, Trigger, check_saga, load_definitions
from saga_service.wire.transport import StreamNames

CHARGE = Step("charge", action="payment.charge")


def problems_of(saga: Saga) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(saga)
    return [(problem.path, problem.text) for problem in raised.value.problems]


def order(**parts: Any) -> Saga:
    return Saga("order", **{"steps": [CHARGE], **parts})


def schema(**order_id: object) -> dict[str, object]:
    return {"type": "object", "properties": {"order_id": {"type": "string", **order_id}}, "required": ["order_id"]}


class Defaulted(BaseModel):
    """An input whose schema has a NUL in a default."""

    note: str = "a\x00b"


class Chosen(BaseModel):
    """An input whose schema has a NUL in a value to choose."""

    kind: Literal["a", "b\x00"]


class Described(BaseModel):
    """An input whose schema has a NUL in the name of a field."""

    note: str = Field(alias="no\x00te")


@pytest.mark.parametrize(
    ("saga", "path"),
    [
        (order(input=schema(default="a\x00b")), "input.properties.order_id.default"),
        (order(input=schema(const="\x00")), "input.properties.order_id.const"),
        (order(input=schema(enum=["a", "\x00"])), "input.properties.order_id.enum[1]"),
        (order(input=schema(pattern="^\x00$")), "input.properties.order_id.pattern"),
        (order(input=schema(description="\x00")), "input.properties.order_id.description"),
        (order(steps=[Step("charge", action="payment.charge", when="input.a == '\x00'")]), "steps[0].when"),
        (order(steps=[Step("charge", action="payment.charge", input={"a": "'\x00'"})]), "steps[0].input.a"),
        (
            order(steps=[Step("charge", action="payment.charge", output=schema(enum=["\x00"]))]),
            "steps[0].output.properties.order_id.enum[0]",
        ),
        (
            order(steps=[Step("charge", action="payment.charge", retry=Retry(never=["a\x00"]))]),
            "steps[0].retry.never[0]",
        ),
        (order(steps=[Step("wait", signal="a", timeout="1h", default={"a": "\x00"})]), "steps[0].default.a"),
        (order(triggers=[Trigger(stream="or\x00ders")]), "triggers[0].stream"),
        (Saga("or\x00der", steps=[CHARGE]), "name"),
        (order(input=Defaulted), "input.properties.note.default"),
        (order(input=Chosen), "input.properties.kind.enum[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_nul_is_told_where_it_stands(saga: Saga, path: str) -> None:
    assert problems_of(saga) == [(path, "holds a NUL character (\\u0000), which cannot be stored; leave it out")]


def test_a_nul_in_a_name_is_told_at_what_has_the_name() -> None:
    by_hand = order(input={"type": "object", "properties": {"a\x00": {"type": "string"}}})

    assert problems_of(by_hand) == [
        (
            "input.properties",
            "has the name 'a\\x00', with a NUL character (\\u0000), which cannot be stored; leave it out",
        )
    ]
    assert [path for path, _ in problems_of(order(input=Described))] == ["input.properties", "input.required[0]"]


def test_half_of_a_surrogate_pair_is_told_where_it_stands() -> None:
    assert problems_of(order(input=schema(enum=["\ud800"]))) == [
        (
            "input.properties.order_id.enum[0]",
            "holds half of a surrogate pair (\\ud800), which cannot be stored; leave it out",
        )
    ]


def test_in_a_file_the_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    path.write_text(
        "name: order\nsteps:\n  - name: charge\n    action: payment.charge\n    when: \"'\\0' == input.a\"\n"
    )

    with pytest.raises(DefinitionErrors) as raised:
        load_definitions([str(path)], StreamNames())

    [problem] = raised.value.problems
    assert (problem.place, problem.path) == (f"{path}:5", "steps[0].when")


def test_other_texts_of_any_language_are_right() -> None:
    assert check_saga(order(input=schema(enum=["図", "é", "\U0001f600", "\\u0000"]))).name == "order"
