"""YAML is read as JSON's friendlier form: no surprises in plain values, and a line for every error."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from saga_service.definitions.sources.yaml import VALUES_MAX, read_yaml, read_yaml_file


def content_of(text: str) -> object:
    written, problems = read_yaml(dedent(text), "a.yaml")
    assert problems == []
    return written[0].content


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in read_yaml(dedent(text), "a.yaml")[1]]


@pytest.mark.parametrize(
    "plain", ["yes", "no", "on", "off", "Y", "1:30", "010", "0x1f", "1_000", "2026-01-01", ".nan", "="]
)
def test_a_plain_value_that_yaml_once_took_for_something_else_is_text(plain: str) -> None:
    assert content_of(f"value: {plain}") == {"value": plain}


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("30s", "30s"),
    ],
)
def test_a_plain_value_is_what_json_would_have(plain: str, value: object) -> None:
    read = content_of(f"value: {plain}")
    assert read == {"value": value}
    assert type(read["value"]) is type(value)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**64 - 1, 1_234_567_890_123_456_789])
def test_a_whole_number_of_64_bits_keeps_every_digit(number: int) -> None:
    assert content_of(f"value: {number}") == {"value": number}


def test_a_key_is_text_whatever_it_looks_like() -> None:
    assert content_of("{on: 1, 5: 2, true: 3, null: 4}") == {"on": 1, "5": 2, "true": 3, "null": 4}


def test_an_alias_stands_for_the_whole_value() -> None:
    assert content_of("a: &patient {attempts: 9}\nb: *patient") == {"a": {"attempts": 9}, "b": {"attempts": 9}}


def test_a_file_may_hold_several_sagas() -> None:
    written, problems = read_yaml("---\nname: a\n---\n---\nname: b\n", "a.yaml")
    assert problems == []
    assert [(saga.content, saga.place_of(("name",))) for saga in written] == [
        ({"name": "a"}, "a.yaml:2"),
        ({"name": "b"}, "a.yaml:5"),
    ]


def test_a_value_has_its_line_and_a_missing_one_that_of_its_holder() -> None:
    written = read_yaml("name: a\nsteps:\n  - name: b\n    retry:\n      attempts: 0\n  - name: c\n", "a.yaml")[0][0]
    assert written.place_of(()) == "a.yaml:1"
    assert written.place_of(("steps", 0, "retry", "attempts")) == "a.yaml:5"
    assert written.place_of(("steps", 1)) == "a.yaml:6"
    assert written.place_of(("steps", 1, "action")) == "a.yaml:6"


def test_a_key_given_twice_is_an_error_wherever_it_is() -> None:
    assert problems_of(
        """\
        name: a
        steps:
          - name: b
            action: c.d
            name: e
        name: f
        """
    ) == [
        "a.yaml:5: steps[0].name: is given twice, first in line 3; keep one",
        "a.yaml:6: name: is given twice, first in line 1; keep one",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: [a", "a.yaml:1: is not valid YAML: the line ends while a '[' or '{' is open; close it"),
        ("name: a\n\tsteps: b", "a.yaml:2: is not valid YAML: the line has a tab; indent with spaces"),
        ("name: *nobody", "a.yaml:1: is not valid YAML: the line has '*nobody', and there is no '&nobody' before it"),
        ("name: a\0", "a.yaml:1: is not valid YAML: the line has the character U+0000, which no text of YAML may have"),
        ("", "a.yaml: holds no saga; write at least 'name' and 'steps'"),
        ("# nothing yet\n---\n", "a.yaml: holds no saga; write at least 'name' and 'steps'"),
        ("[" * 1_000, "a.yaml: is nested too deeply"),
        ("a: &loop\n  b: *loop", "a.yaml:2: a.b: is an alias of what holds it"),
        ("a: !!python/name:os.system x", "a.yaml:1: a: has the tag '!!python/name:os.system'; write plain values"),
        ("a: !input.a", "a.yaml:1: a: has the tag '!input.a'; write plain values, and a text that begins with '!' "),
        ("a: !secret x", "a.yaml:1: a: has the tag '!secret'; write plain values"),
        ("a: !!set {b, c}", "a.yaml:1: a: has the tag '!!set'; write plain values"),
        ("a: !!int x", "a.yaml:1: a: is tagged !!int, but is 'x'"),
        ("a: !!bool maybe", "a.yaml:1: a: is tagged !!bool, but is 'maybe'"),
        ("a: {[b]: c}", "a.yaml:1: a: has a key that is not text"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, problem: str) -> None:
    told = problems_of(text)
    assert len(told) == 1
    assert told[0].startswith(problem)


def test_aliases_of_aliases_cannot_fill_the_memory() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert problems_of("\n".join(layers)) == [
        f"a.yaml: holds more than {VALUES_MAX} values, counting an alias as often as it is used"
    ]


def test_a_file_that_cannot_be_opened_or_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    (tmp_path / "folder.yaml").mkdir()
    for file, told in (
        ("none.yaml", "there is no such file"),
        ("folder.yaml", "cannot be read: is a directory"),
        ("latin.yaml", "is not UTF-8: the octet at 9 cannot be read; save it as UTF-8"),
    ):
        written, problems = read_yaml_file(tmp_path / file)
        assert written == []
        assert [(problem.place, problem.text) for problem in problems] == [(str(tmp_path / file), told)]


def test_a_merge_key_takes_over_what_a_mapping_does_not_say_itself() -> None:
    text = dedent(
        """\
        name: order
        first: &first {retry: {attempts: 2}, timeout: 5s}
        second: &second {timeout: 9s, kind: pivot}
        steps:
        - <<: [*first, *second]
          name: a
        - {name: b, timeout: 1s, <<: *first}
        - {name: c, "<<": x}
        """
    )
    [saga], problems = read_yaml(text, "a.yaml")
    assert problems == []
    assert isinstance(saga.content, dict)
    assert saga.content["steps"] == [
        {"name": "a", "retry": {"attempts": 2}, "timeout": "5s", "kind": "pivot"},
        {"name": "b", "retry": {"attempts": 2}, "timeout": "1s"},
        {"name": "c", "<<": "x"},
    ]
    places = [("steps", 0, "retry", "attempts"), ("steps", 0, "name"), ("steps", 1, "timeout"), ("steps", 1, "retry")]
    assert [saga.line_of(place) for place in places] == [2, 6, 7, 2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {<<: 3}", "a.yaml:1: a.<<: merges what is no mapping; write '<<: *name' for one with '&name'"),
        ("a: &x\n  <<: *x\n", "a.yaml:1: a: is an alias of what holds it"),
    ],
)
def test_a_merge_of_something_else_is_told(text: str, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_merges_of_merges_cannot_take_for_ever() -> None:
    chain = ["m0: &m0 {a: 1}", *(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}" for n in range(1, 60))]
    assert [problem.split(": ", 1)[1] for problem in problems_of("\n".join(chain))] == [
        f"holds more than {VALUES_MAX} values, counting an alias as often as it is used"
    ]


SYNTAX = {
    "name: a\n  steps: b\n": "2: the line has a ':' where none may stand; see that it is indented as the keys above it",
    "name: a\nsteps:\n  - name: x\n   action: y\n": "4: the line begins in a column that fits nothing above it",
    "name: a\nsteps:\n - x\n- y\n": "4: the line begins in a column that fits nothing above it",
    "name: 'a\n": "2: the line has a quote above it that is never closed",
    "name: {a\nb: 1\n": "2: the line comes before the closing '}' of a list or mapping in brackets",
    "name: @x\n": "1: the line has a value that begins with '@', a sign of YAML's; put the whole text between quotes",
    'when: "a" == input.b\n': "1: the line goes on after the value has ended; put the whole text between quotes",
    "name: &a x\nb: &a y\n": "2: the line has an anchor (&) that stands above already",
    "b: - c\n": "1: the line has a '- ' behind a key; begin the list in the next line",
    "when: input.a ? 'x' : 'y'\n": "1: the line has a ':' where none may stand",
    "a: >x\n b\n": "1: the line has a value that begins with '>' or '|', signs of YAML's",
    'a: "\\q"\n': "1: the line has '\\q' between double quotes; write '\\\\q', or use single quotes",
    "a: 1\n...\n b\n": "3: the line goes on after the document has ended; begin another one with '---'",
    "a: 1\nb\nc: 2\n": "3: the line has no ':' after its key",
}


@pytest.mark.parametrize(("text", "told"), SYNTAX.items(), ids=SYNTAX.values())
def test_an_error_of_yaml_is_told_in_words_for_authors(text: str, told: str) -> None:
    line, words = told.split(": ", 1)
    [problem] = problems_of(text)
    assert problem.startswith(f"a.yaml:{line}: is not valid YAML: {words}")
