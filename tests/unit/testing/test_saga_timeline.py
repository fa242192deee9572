"""The test kit: moments as text."""

from __future__ import annotations

import pytest

from saga_service.testing.saga import moment_text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (1, "0.001s"),
        (200, "0.2s"),
        (10_000, "10s"),
        (59_999, "59.999s"),
        (60_000, "1m"),
        (3_690_500, "1h 1m 30.5s"),
        (8 * 3_600_000, "8h"),
        (90_000_000, "1d 1h"),
        (400 * 86_400_000 + 1, "400d 0.001s"),
    ],
)
def test_a_moment_is_exact_and_short(milliseconds: int, text: str) -> None:
    assert moment_text(milliseconds) == text
