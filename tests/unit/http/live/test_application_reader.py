"""As many viewers as the settings allow may have files open, as far as the system lets the process."""

from __future__ import annotations

import resource

import pytest
from structlog.testing import capture_logs

from saga_service.http.live.application_reader import BESIDE_VIEWERS, allow_open_files_for

WANTED = 2_000 + BESIDE_VIEWERS
NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised_to", "is_told"),
    [
        (1_024, 4_096, WANTED, False),
        (1_024, NO_LIMIT, WANTED, False),
        (1_024, 2_000, 2_000, True),
        (1_024, 1_024, None, True),
        (65_536, 65_536, None, False),
        (NO_LIMIT, NO_LIMIT, None, False),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised_to: int | None, is_told: bool
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))

    with capture_logs() as lines:
        allow_open_files_for(2_000)

    assert limits == ([] if raised_to is None else [(raised_to, hard)])
    assert [line["needed"] for line in lines] == ([WANTED] if is_told else [])
