"""The pure core: what a saga is and how it moves. No I/O, no clock, no randomness, the standard library alone.

Read in this order: `definition` (what an author writes), `state` (what a row holds), `events` (what may happen),
`transitions` (the theory and the tables), `advance` (the one function that decides), `effects` (what it asks for).
Behind `advance`: one module for each kind of event, `rules` and their `guards`, and the saga's `look` at itself.
"""
