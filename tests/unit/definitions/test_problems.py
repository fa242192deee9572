"""A wrong definition: every error at once, each with its place and with what to write instead."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from saga_service.definitions import DefinitionErrors, load_definitions


def problems_of(*sources: str) -> list[str]:
    with pytest.raises(DefinitionErrors) as raised:
        load_definitions(sources)
    return [str(problem) for problem in raised.value.problems]


def problems_of_yaml(directory: Path, text: str) -> list[str]:
    (directory / "a.yaml").write_text(dedent(text))
    return problems_of("a.yaml")


def test_every_error_of_every_file_is_told_at_once_each_with_its_line(directory: Path) -> None:
    (directory / "order.yaml").write_text(
        dedent(
            """\
            name: Order Saga
            key: order
            input:
              type: object
              properties:
                order_id: {type: strin}
            steps:
              - name: reserve
                action: reserve
                retry: {attempts: 0, first_dely: 5s}
              - name: reserve
                compensation: inventory.release
                timeout: soon
            trigers: []
            """
        )
    )
    (directory / "refund.yaml").write_text("name: refund\n---\nsteps: []\n")
    assert problems_of("order.yaml", "refund.yaml", "none.yaml") == [
        "order.yaml:1: name: must be a name of small letters, digits, '-' and '_' that begins with a letter, "
        "but is 'Order Saga'; write 'order-saga'",
        "order.yaml:2: key: must be a property of the input, but is 'order'; did you mean 'order_id'?",
        "order.yaml:6: input.properties.order_id.type: is no type of JSON Schema: 'strin'; did you mean 'string'?",
        "order.yaml:9: steps[0].action: must be 'service.verb' in small letters, such as 'payment.charge' "
        r"([a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*), but is 'reserve'",
        "order.yaml:10: steps[0].retry.attempts: must be a whole number from 1 to 1000, but is 0; write 1 for no retry",
        "order.yaml:10: steps[0].retry.first_dely: is not a known key; did you mean 'first_delay'?",
        "order.yaml:11: steps[1]: has nothing to do; write one of action, sleep, signal, saga",
        "order.yaml:11: steps[1].name: is 'reserve', as is steps[0].name; rename one",
        "order.yaml:13: steps[1].timeout: must be a duration, but is 'soon'; "
        "write a number with its unit, such as '200ms', '30s', '5m', '1h' or '7d', or a number of seconds",
        "order.yaml:14: trigers: is not a known key; did you mean 'triggers'?",
        "refund.yaml:1: steps: is missing; write the list of steps, in the order in which they are done",
        "refund.yaml:3: name: is missing; write a name of small letters, digits, '-' and '_', such as 'order'",
        "refund.yaml:3: steps: must have at least one entry, but is empty",
        "none.yaml: there is no such file",
    ]


def test_every_error_of_a_module_is_told_at_once_each_with_its_line(directory: Path, module: str) -> None:
    (directory / f"{module}.py").write_text(
        dedent(
            """\
            from saga_service import Retry, Saga, Step, Trigger

            order = Saga("order", key="id", steps=[
                Step("charge", action="charge", retry=Retry(attempts=0, factor=0.5)),
                Step("charge", action="payment.charge", compensation="none"),
            ])
            others = [Saga("Refund", triggers=[Trigger(group="g")], steps=[])]
            """
        )
    )
    assert problems_of(module) == [
        f"{module}.py:3: key: must be a property of the input, but is 'id'; the input's properties: none",
        f"{module}.py:4: steps[0].action: must be 'service.verb' in small letters, such as 'payment.charge' "
        r"([a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*), but is 'charge'",
        f"{module}.py:4: steps[0].retry.attempts: must be a whole number from 1 to 1000, but is 0; "
        "write 1 for no retry",
        f"{module}.py:4: steps[0].retry.factor: must be a number from 1 to 100, but is 0.5; write 1 for equal waits",
        f"{module}.py:5: steps[1].compensation: is 'none'; leave the key out where there is nothing to undo",
        f"{module}.py:5: steps[1].name: is 'charge', as is steps[0].name; rename one",
        f"{module}.py:7: name: must be a name of small letters, digits, '-' and '_' "
        "that begins with a letter, but is 'Refund'; write 'refund'",
        f"{module}.py:7: steps: must have at least one entry, but is empty",
        f"{module}.py:7: triggers[0]: must have either 'event_type' or 'stream', and not both",
    ]


def test_a_part_that_was_made_elsewhere_has_the_line_of_the_saga(directory: Path, module: str) -> None:
    (directory / f"{module}_parts.py").write_text(
        "from saga_service import Retry, Step\nSTEP = Step('a', action='b.c')\nRETRY = Retry(attempts=0)\n"
    )
    (directory / f"{module}.py").write_text(
        f"from saga_service import Saga, Step\nfrom {module}_parts import RETRY, STEP\n\n\n"
        "order = Saga(\n    'order',\n    steps=[\n        STEP,\n"
        "        Step(\n            'b', action='b.c', retry=RETRY),\n        Step('c')])\n"
    )
    assert problems_of(module) == [
        f"{module}.py:9: step 'b', retry.attempts: must be a whole number from 1 to 1000, but is 0; "
        "write 1 for no retry",
        f"{module}.py:11: step 'c': has nothing to do; write one of action, sleep, signal, saga",
    ]


def test_an_error_calls_a_step_by_its_name(directory: Path) -> None:
    text = (
        "name: order\nsteps:\n- {name: a, action: b.c}\n- {name: charge, action: b.c, timeout: 0s}\n- {timeout: 0s}\n"
    )
    assert [told.split(": ")[1] for told in problems_of_yaml(directory, text)] == [
        "step 'charge', timeout",
        "steps[2].name",
        "steps[2].timeout",
        "steps[2]",
    ]


def test_the_errors_are_readable_as_one_text(directory: Path) -> None:
    (directory / "a.yaml").write_text("name: a\n")
    with pytest.raises(DefinitionErrors) as raised:
        load_definitions(["a.yaml", "b.yaml"])
    assert str(raised.value) == (
        "2 problems in the saga definitions:\n"
        "  a.yaml:1: steps: is missing; write the list of steps, in the order in which they are done\n"
        "  b.yaml: there is no such file"
    )


def test_what_two_sagas_claim_is_told_with_both_places(directory: Path) -> None:
    step = "steps: [{name: a, action: b.c}]\n"
    (directory / "a.yaml").write_text(f"name: order\ntriggers: [{{stream: s}}, {{event_type: e}}]\n{step}")
    (directory / "b.yaml").write_text(
        f"name: order\n{step}---\nname: c\ntriggers:\n- stream: s\n- event_type: e\n{step}"
    )
    (directory / "d.yaml").write_text(f"name: e\nsteps: []\n---\nname: f\ntriggers: [{{event_type: c}}]\n{step}")
    assert problems_of("a.yaml", "b.yaml", "d.yaml") == [
        "d.yaml:2: steps: must have at least one entry, but is empty",
        "b.yaml:1: name: is 'order', as is the name of the saga at a.yaml:1; change one of them",
        "b.yaml:6: triggers[0].stream: is 's', which starts the saga at a.yaml:2; change one of them",
        "b.yaml:7: triggers[1].event_type: is 'e', which starts the saga at a.yaml:2; change one of them",
        "d.yaml:1: name: is 'e', which starts the saga at a.yaml:2; change one of them",
        "d.yaml:5: triggers[0].event_type: is 'c', which starts the saga at b.yaml:4; change one of them",
    ]


def test_a_stream_of_the_service_itself_is_no_trigger(directory: Path) -> None:
    streams = ["saga:events", "saga:replies", "saga:outcomes", "saga:dead-letter", "saga:commands:payment"]
    # Under these names the service keeps its own events: what an outsider adds must not pass for one.
    streams += ["saga.requests", "saga.timers", "saga.recovery", "saga:mine"]
    triggers = "\n".join(f"  - stream: {stream}" for stream in streams)
    text = f"name: a\nsteps: [{{name: a, action: b.c}}]\ntriggers:\n{triggers}\n"
    assert problems_of_yaml(directory, text) == [
        f"a.yaml:{4 + position}: triggers[{position}].stream: is '{stream}', a stream of the service itself; "
        "name a stream that others write"
        for position, stream in enumerate(streams[:-1])
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "- name: a",
            "a.yaml:1: must be a mapping with 'name' and 'steps', but is a list; write each saga as a document",
        ),
        ("order", "a.yaml:1: must be a mapping with 'name' and 'steps', but is 'order'; write each saga as a document"),
    ],
)
def test_a_document_that_is_no_saga_is_told(directory: Path, text: str, problem: str) -> None:
    assert problems_of_yaml(directory, text) == [problem]


def test_a_source_that_is_none_is_told_with_what_to_write(directory: Path) -> None:
    (directory / "empty").mkdir()
    (directory / "broken.txt").touch()
    assert problems_of("empty/", "shop/sagas.py", "../shop.py", "broken.txt/", "a b", "saga_service.nothing", "") == [
        "empty/: is a directory without a .yaml or .yml file",
        "shop/sagas.py: is a Python file; write the name of its module instead, 'shop.sagas'",
        "../shop.py: is a Python file; write the name of its module instead, such as 'shop.sagas'",
        "broken.txt/: 'broken.txt/' is no YAML file, directory or module; "
        "write 'sagas/order.yaml', 'sagas/' or 'shop.sagas'",
        "a b: 'a b' is no YAML file, directory or module; write 'sagas/order.yaml', 'sagas/' or 'shop.sagas'",
        "saga_service.nothing: there is no module 'saga_service.nothing'; "
        f"it was looked for in {directory} and where Python is installed",
        "is a directory without a .yaml or .yml file",
    ]


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        (":ordr", "module '{module}' has no 'ordr'; did you mean 'order'?"),
        (":zzz", "module '{module}' has no 'zzz'; its sagas: order, many"),
        (":number", "must be a Saga or a list of them, but is 5"),
        (":mixed", "must be a Saga or a list of them, but is a list"),
        (":nothing", "holds no saga; write `order = Saga(...)` at the top level of the module"),
    ],
)
def test_an_attribute_that_is_no_saga_is_told(directory: Path, module: str, attribute: str, text: str) -> None:
    (directory / f"{module}.py").write_text(
        dedent(
            """\
            from saga_service import Saga, Step
            order = Saga("order", steps=[Step("a", action="b.c")])
            many = (order,)
            number, mixed, nothing = 5, ["a"], []
            """
        )
    )
    source = f"{module}{attribute}"
    assert problems_of(source) == [f"{source}: {text.format(module=module)}"]


@pytest.mark.parametrize(
    ("code", "line", "text"),
    [
        ("order = Saga(", 2, "cannot be imported: SyntaxError: '(' was never closed"),
        ("order = Sagas()", 2, "cannot be imported: NameError: name 'Sagas' is not defined"),
        (
            "import nowhere_to_be_found",
            2,
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_fou",
        ),
        ('Step("a", acton="b.c")', 2, "Step(... acton=...): is not a known key; did you mean 'action'?"),
        ("\n\nRetry(attempt=5)", 4, "Retry(... attempt=...): is not a known key; did you mean 'attempts'?"),
        (
            "Step()",
            2,
            "cannot be imported: TypeError: Step.__init__() missing 1 required positional argument: 'name'",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_with_its_line(
    directory: Path, module: str, code: str, line: int, text: str
) -> None:
    (directory / f"{module}.py").write_text(f"from saga_service import *\n{code}\n")
    [problem] = problems_of(module)
    assert problem.startswith(f"{directory / module}.py:{line}: {text}")


def test_the_errors_of_yaml_itself_stand_beside_those_of_the_saga(directory: Path) -> None:
    text = "name: a\nname: b\nsteps:\n" + indent("- {name: c, action: d}\n", "  ")
    told = problems_of_yaml(directory, text)
    assert [problem.split(": ")[:2] for problem in told] == [["a.yaml:2", "name"], ["a.yaml:4", "step 'c', action"]]
