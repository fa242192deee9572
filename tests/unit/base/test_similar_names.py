"""What may be meant by a name that nothing has."""

from __future__ import annotations

from saga_service.base.similar_names import closest, closest_or_all


def test_the_nearest_name_is_asked_for_and_nothing_where_none_is_near() -> None:
    assert closest("ordre", ["trip", "order"]) == "; did you mean 'order'?"
    assert closest("visit", ["trip", "order"]) == closest("visit", []) == ""


def test_where_none_is_near_all_are_named() -> None:
    assert closest_or_all("ordre", ["trip", "order"]) == "; did you mean 'order'?"
    assert closest_or_all("visit", ["trip", "order"], "there are") == "; there are: trip, order"
    assert closest_or_all("visit", []) == ""
