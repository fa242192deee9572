"""Checks of each step: each one broken, with the path and the whole text of its problem."""

from __future__ import annotations

from typing import Any

import pytest

from saga_service.definitions import Retry, Step
from tests.support.checked_sagas import command, problems_of, right

ONE_TASK = "action, sleep, signal, saga"
FOREIGN: list[tuple[Step, str, str]] = [
    (Step("a"), "", f"has nothing to do; write one of {ONE_TASK}"),
    (
        Step("a", action="b.c", sleep="1h"),
        ".sleep",
        f"stands beside 'action', and a step is one of {ONE_TASK}; make two",
    ),
    (Step("a", sleep="1h", timeout="1h"), ".timeout", "means nothing for a sleep; leave it out: its length stands at "),
    (Step("a", sleep="1h", input={}), ".input", "means nothing for a sleep; leave it out"),
    (Step("a", sleep="1h", kind="pivot"), ".kind", "means nothing for a sleep; leave it out"),
    (Step("a", sleep="1h", retry=Retry()), ".retry", "means nothing for a sleep; leave it out"),
    (Step("a", sleep="1h", compensation="b.c"), ".compensation", "means nothing for a sleep; leave it out"),
    (
        Step("a", signal="b", retry=Retry()),
        ".retry",
        "means nothing for a wait for a signal; leave it out: it waits once, for 'timeout'",
    ),
    (Step("a", signal="b", on_unknown="hold"), ".on_unknown", "means nothing for a wait for a signal; leave it out"),
    (Step("a", signal="b", heartbeat="1s"), ".heartbeat", "means nothing for a wait for a signal; leave it out"),
    (
        Step("a", saga="b", compensation="b.c"),
        ".compensation",
        "means nothing for a child saga; leave it out: a child saga undoes itself",
    ),
    (
        Step("a", saga="b", heartbeat="1s"),
        ".heartbeat",
        "means nothing for a child saga; leave it out: the child's own steps have theirs",
    ),
    (Step("a", saga="b", probe="b.c"), ".probe", "means nothing for a child saga; leave it out"),
    (
        Step("a", saga="b", output={}),
        ".output",
        "means nothing for a child saga; leave it out: it is what the child's own steps return",
    ),
    (Step("a", sleep="1h", output={}), ".output", "means nothing for a sleep; leave it out"),
    (
        command("a", default={}),
        ".default",
        "means nothing for a command; leave it out: it stands for a signal that does not come",
    ),
]


@pytest.mark.parametrize(("step", "path", "text"), FOREIGN)
def test_a_step_is_one_thing_and_has_no_words_of_another(step: Step, path: str, text: str) -> None:
    [(told_path, told_text)] = problems_of(step)
    assert told_path == f"steps[0]{path}"
    assert told_text == text if not text.endswith(" ") else told_text.startswith(text)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("action", "must be 'service.verb' in small letters, such as 'payment.charge' "),
        ("sleep", "must be a duration, but is empty; "),
        ("signal", "must be text, but is empty"),
        ("saga", "must be a name of small letters, digits, '-' and '_' that begins with a letter, but is empty"),
    ],
)
def test_a_word_that_is_empty_is_told_as_any_other_wrong_value(word: str, text: str) -> None:
    written: Any = {"name": "a", word: None}
    [(path, told)] = problems_of(written)
    assert path == f"steps[0].{word}"
    assert told.startswith(text)


@pytest.mark.parametrize(
    ("after", "path", "text"),
    [
        ("reserv", "", "is 'reserv', and there is no such step; did you mean 'reserve'?"),
        (["zzz"], "[0]", "is 'zzz', and there is no such step; steps before this one: reserve, check"),
        (["check", "ship"], "[1]", "is 'ship', the step itself; name a step that stands before it"),
        (
            ["bill"],
            "[0]",
            "is 'bill', which stands after this step; name a step that stands before it, or move it up",
        ),
        (["check", "reserve", "check"], "[2]", "is 'check', which is named already; leave it out"),
    ],
)
def test_a_step_waits_for_steps_that_stand_before_it(after: str | list[str], path: str, text: str) -> None:
    steps = [command("reserve"), command("check"), command("ship", after=after), command("bill")]
    assert problems_of(*steps) == [(f"steps[2].after{path}", text)]


def test_a_step_whose_name_is_wrong_is_waited_for_by_the_name_that_it_should_have() -> None:
    """Each mistake is told once, at the name."""
    steps = [command("Reserve"), command("charge", after="reserve", kind="pivot"), command("ship", after="reserve")]
    found = problems_of(*steps, command("bill", after=["charge", "ship"], kind="retriable"))
    assert [path for path, text in found if "no such step" in text] == []
    [named] = [text for path, text in found if path == "steps[0].name"]
    assert named.endswith("but is 'Reserve'; write 'reserve'")


def test_the_first_step_waits_for_none() -> None:
    told = "is 'zzz', and there is no such step; none stands before this one"
    assert problems_of(command("a", after="zzz")) == [("steps[0].after", told)]


def test_a_step_waits_for_the_one_before_it_for_those_it_names_or_for_none() -> None:
    steps = [
        command("a"),
        command("b"),
        command("c", after=[]),
        command("d", after=("a", "c")),
        command("e", after="a"),
    ]
    definition = right(*steps).definition
    assert definition.predecessors == ((), (0,), (), (0, 2), (0,))


@pytest.mark.parametrize(
    ("step", "path", "text"),
    [
        (
            command("a", on_unknown="probe"),
            "probe",
            "is missing; write the type of the command that asks whether it happened, such as 'payment.find'",
        ),
        (
            command("a", probe="a.find"),
            "probe",
            "is only sent where 'on_unknown' is 'probe'; write that, or leave this out",
        ),
        (
            command("a", probe="a.find", on_unknown="hold"),
            "probe",
            "is only sent where 'on_unknown' is 'probe'; write that, or leave this out",
        ),
        (
            command("a", kind="pivot", on_unknown="compensate"),
            "on_unknown",
            "is 'compensate', and a pivot is not undone; write 'hold', 'probe' or 'retry'",
        ),
        (
            command("a", kind="retriable", on_unknown="compensate"),
            "on_unknown",
            "is 'compensate', and a retriable step is not given up; write 'retry', 'probe' or 'hold'",
        ),
        *(
            (
                Step("a", saga="b", on_unknown=given),
                "on_unknown",
                f"is '{given}', and a child saga tells of its end; write 'hold' or leave it out",
            )
            for given in ("retry", "compensate")
        ),
    ],
)
def test_what_is_done_about_no_answer_fits_the_step(step: Step, path: str, text: str) -> None:
    assert problems_of(step) == [(f"steps[0].{path}", text)]


def test_a_child_saga_may_say_that_it_is_waited_for() -> None:
    assert right(Step("a", saga="b", on_unknown="hold")).version == right(Step("a", saga="b")).version


def test_a_heartbeat_is_shorter_than_the_timeout() -> None:
    more = "write less, or a longer 'timeout'"
    assert problems_of(command("a", heartbeat="1m"), command("b", timeout="10s", heartbeat=20)) == [
        ("steps[0].heartbeat", f"is 1m, and must be less than the timeout of 1m; {more}"),
        ("steps[1].heartbeat", f"is 20s, and must be less than the timeout of 10s; {more}"),
    ]
    assert right(command("a", heartbeat="59s")).definition.steps[0].heartbeat_ms == 59_000


def test_a_saga_does_not_end_in_its_sleep() -> None:
    assert problems_of(Step("a", sleep="2h"), Step("b", sleep="119m"), deadline="2h") == [
        (
            "steps[0].sleep",
            "is 2h, and the saga's deadline is 2h: it would end in the sleep; write less, or a later 'deadline'",
        )
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    steps = [
        command("a", when="input.zz", kind="pivot", compensation="a.undo"),
        command("b", after="c", heartbeat="2h", on_unknown="probe"),
        Step("c", sleep="2h", timeout="3h"),
    ]
    paths = [path for path, _ in problems_of(*steps, deadline="1h", undo="up")]
    assert sorted(paths) == [
        "steps[0].compensation",
        "steps[0].when",
        "steps[1].after",
        "steps[1].heartbeat",
        "steps[1].kind",
        "steps[1].probe",
        "steps[2].sleep",
        "steps[2].timeout",
        "undo",
    ]
