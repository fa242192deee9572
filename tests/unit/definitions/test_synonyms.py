"""Keywords of other systems, and slips of the pen."""

from __future__ import annotations

from collections import Counter

import pytest

from saga_service.definitions.keywords import KEYWORDS_OF
from saga_service.definitions.model import RetryModel, SagaModel, StepModel, TriggerModel
from saga_service.definitions.synonyms import SYNONYMS, unknown_keyword

KNOWN = {
    "saga": list(SagaModel.model_fields),
    "step": list(StepModel.model_fields),
    "retry": list(RetryModel.model_fields),
    "trigger": list(TriggerModel.model_fields),
}


@pytest.mark.parametrize(
    ("place", "keyword", "ours"),
    [
        ("step", "depends_on", "'after'"),
        ("step", "dependsOn", "'after'"),
        ("step", "if", "'when'"),
        ("step", "rollback", "'compensation'"),
        ("step", "undo", "'compensation'"),
        ("step", "on_failure", "'compensation', which undoes this step when the saga fails"),
        ("step", "delay", "'sleep', in a step of its own"),
        ("step", "max_attempts", "'retry: {attempts: 5}'"),
        ("step", "route", "'when' in each of the steps to choose from"),
        ("step", "optional", "nothing: no step may fail and be passed over"),
        ("retry", "delay", "'first_delay'"),
        ("retry", "backoffCoefficient", "'factor'"),
        ("retry", "non_retryable_errors", "'never'"),
        ("saga", "timeout", "'deadline'"),
        ("trigger", "topic", "'stream'"),
    ],
)
def test_a_word_of_others_is_told_with_ours(place: str, keyword: str, ours: str) -> None:
    assert unknown_keyword(keyword, KNOWN[place], place).startswith(f"is not a known key; here it is {ours}")


@pytest.mark.parametrize(
    ("keyword", "told"),
    [
        ("actoin", "did you mean 'action'?"),
        ("onUnknown", "write 'on_unknown'"),
        ("compensation-retry", "write 'compensation_retry'"),
        ("router", "known here: name, action"),
        ("optionally", "known here: name, action"),
    ],
)
def test_only_a_word_that_is_near_is_taken_for_a_slip(keyword: str, told: str) -> None:
    assert unknown_keyword(keyword, KNOWN["step"], "step").startswith(f"is not a known key; {told}")


@pytest.mark.parametrize("place", SYNONYMS)
def test_a_word_of_others_has_one_meaning_and_is_none_of_ours(place: str) -> None:
    words = [word for row in SYNONYMS[place].values() for word in row.split()]
    assert [word for word, times in Counter([*words, *KNOWN[place]]).items() if times > 1] == []


def test_every_keyword_of_a_step_is_known_here() -> None:
    assert frozenset[str]().union(*KEYWORDS_OF.values()) == set(KNOWN["step"])
