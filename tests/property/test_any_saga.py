"""Any saga, any events, any order: the laws hold, and once all goes well the saga ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.definition import Definition
from tests.property.life import Life, Move, moves
from tests.property.sagas import definitions


@given(definition=definitions(), moves=moves, is_child=st.booleans())
def test_any_saga_lives_by_the_laws_and_ends(definition: Definition, moves: list[Move], is_child: bool) -> None:
    life = Life(definition, is_child=is_child)
    for move in moves:
        life.go_on(move)
    life.all_goes_well_from_here()
    life.whole_history_is_legal()
