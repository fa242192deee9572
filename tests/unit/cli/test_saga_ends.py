"""The line that `dev` prints for a saga that ends."""

from __future__ import annotations

from datetime import timedelta

from saga_service.cli.console.saga_ends import line_of_end
from tests.unit.cli.saga_rows import NOW, SAGA_ID, saga


def test_a_saga_that_is_completed_is_told_with_its_key_and_how_long_it_took() -> None:
    row = saga("completed", created_at=NOW - timedelta(milliseconds=250), updated_at=NOW)
    assert line_of_end(row) == f"completed: order A-17 ({SAGA_ID}) in 250 ms"


def test_a_saga_that_did_not_complete_is_told_with_the_reason() -> None:
    row = saga("compensated", key=None, error_step="charge", error_code="no_funds", error_message="not\nenough")
    assert line_of_end(row) == f"compensated: order ({SAGA_ID}) in 1 min: charge: no_funds: not\\nenough"
    stuck = saga("stuck", stuck_step="reserve", stuck_code="timeout", stuck_message="no answer")
    assert line_of_end(stuck).endswith("reserve: timeout: no answer")
