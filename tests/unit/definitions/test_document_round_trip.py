"""Whatever an author may lay down comes back from its document as it was, and is the same in YAML and in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from saga_service.definitions import Retry, Saga, Step, check_saga, definition_from_document
from saga_service.definitions.authoring import as_mapping
from saga_service.definitions.checks.conflicts import conflicts
from saga_service.definitions.keywords import KEYWORDS_OF
from saga_service.definitions.outline import outlines_of
from saga_service.definitions.problems import SagaSource
from saga_service.definitions.sources.yaml import read_yaml
from saga_service.definitions.validation import check
from saga_service.wire.transport import StreamNames

durations = st.sampled_from(["200ms", "30s", "5m", "1h", "7d", 1, 2.5])
commands = st.sampled_from(["payment.charge", "inventory.reserve", "mail.send"])
constants = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e9, 1e9)
texts = st.sampled_from(["input.amount", "'web'", "input.items.map(i, i.sku)", "{'a': [1, 2.5]}", "has(input.x)"])
mapped = st.recursive(
    constants | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
conditions = st.sampled_from(["true", "input.amount > 100", "has(input.x) && input.x == 'a'"])


def some(**words: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=words)


retries = some(
    attempts=st.integers(1, 1_000),
    first_delay=st.sampled_from(["0s", "10ms", "1s"]),
    factor=st.sampled_from([1, 1.5, 2.0, 100]),
    max_delay=st.sampled_from(["1s", "1h"]),
    jitter=st.booleans(),
    budget=durations,
    never=st.lists(st.sampled_from(["a", "b"])),
).map(lambda words: Retry(**words))


@dataclass(frozen=True)
class Task:
    words: st.SearchStrategy[dict[str, Any]]
    more: st.SearchStrategy[dict[str, Any]]

    def strategy(self) -> st.SearchStrategy[dict[str, Any]]:
        return st.builds(lambda words, more: {**words, **more}, self.words, self.more)


WORK = {
    "input": st.dictionaries(st.sampled_from("abc"), mapped, max_size=3),
    "retry": retries,
    "compensation_retry": retries,
    "compensation_timeout": durations,
    "kind": st.sampled_from(["compensatable", "retriable"]),
}
OUTPUTS = st.just({"required": ["x"], "properties": {"x": {"type": "integer"}, "y": {"$ref": "#/properties/x"}}})
TASKS = [
    Task(
        st.fixed_dictionaries({"action": commands}),
        some(**WORK, compensation=commands, timeout=st.just("8d"), heartbeat=durations, on_unknown=st.just("hold")),
    ),
    Task(
        st.fixed_dictionaries({"action": commands, "on_unknown": st.just("probe"), "probe": commands}),
        some(**WORK, timeout=durations, output=OUTPUTS),
    ),
    Task(st.fixed_dictionaries({"sleep": durations}), st.just({})),
    Task(
        st.fixed_dictionaries({"signal": st.just("go")}), some(timeout=durations, default=st.just({"a": [None, 1.5]}))
    ),
    Task(st.fixed_dictionaries({"saga": st.just("child")}), some(**WORK, timeout=durations)),
]


@st.composite
def sagas(draw: st.DrawFn) -> Saga:
    steps: list[Step] = []
    for place in range(draw(st.integers(1, 5))):
        words = draw(st.one_of([task.strategy() for task in TASKS]))
        if "heartbeat" in words:
            words["timeout"] = "8d"
        words |= draw(some(when=conditions))
        before = [step.name for step in steps]
        if before:
            words |= draw(
                some(after=st.sampled_from(before)) | some(after=st.lists(st.sampled_from(before), unique=True))
            )
        steps.append(Step(f"s{place}", **words))
    return Saga(
        "order", steps=steps, **draw(some(deadline=st.just("300d"), undo=st.sampled_from(["reverse", "parallel"])))
    )


@given(sagas())
def test_any_saga_comes_back_from_its_document_as_it_was(saga: Saga) -> None:
    spec = check_saga(saga)
    stored = orjson.loads(orjson.dumps(spec.document))
    assert definition_from_document(stored) == spec.definition


@given(sagas())
def test_any_saga_is_the_same_in_yaml(saga: Saga) -> None:
    # JSON is YAML.
    [written], problems = read_yaml(orjson.dumps(as_mapping(saga)).decode(), "a.yaml")
    assert problems == []
    in_yaml, wrong = check(written)
    assert wrong == []
    assert in_yaml is not None
    assert in_yaml.definition == check_saga(saga).definition


junk = st.recursive(
    constants
    | texts
    | st.sampled_from(["", "s0", "s1", "pivot", "retriable", "probe", "1h", "a.b", "input.", "\0", "web"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["s0", "attempts", "5"]), inner, max_size=3)
    ),
    max_leaves=6,
)
steps_of_junk = st.lists(
    junk | st.dictionaries(st.sampled_from(sorted(frozenset[str]().union(*KEYWORDS_OF.values()))), junk, max_size=6),
    max_size=4,
)
SCHEMAS = (
    st.none() | junk | st.just({"properties": {"amount": {"type": "number"}, "any": {}, "list": {"type": "array"}}})
)


@given(some(name=junk, steps=junk | steps_of_junk, input=SCHEMAS, key=junk, triggers=junk, deadline=junk, undo=junk))
def test_whatever_is_written_is_a_saga_or_told_to_be_none(content: dict[str, Any]) -> None:
    written = SagaSource(content, "here")
    # Beside sagas that it may start, and that are wrong in their ways: none of them harms the others.
    others = [{**content, "name": "s0"}, {"name": "s1", "steps": [{"when": "((", "saga": 5}]}]
    outline, *_ = outlines_of([content, *others])
    spec, problems = check(written, outline)
    assert (spec is None) == bool(problems)
    assert all(problem.text and "\n" not in problem.text for problem in problems)
    assert all(problem.text for problem in conflicts([written, written], StreamNames()))
