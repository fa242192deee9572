"""The pure core: what a saga is and how it moves. No I/O, no clock, no randomness, the standard library alone.

Read in this order: `definition` (what an author writes), `state` (what a row holds), `events` (what may happen),
`transitions` (the theory and the tables), `advance` (the one function that decides), `effects` (what comes of it).

`advance` hands each kind of event to a module of its own: `replies`, `timers`, `signals`, `operations`. They drive the
`machine`: it applies one of the `rules`, unless one of the `guards` is against it, and then lets the saga go on by
itself, `forward` or back (`compensation`). `draft` collects the changes, and `outgoing` makes the messages.
"""
