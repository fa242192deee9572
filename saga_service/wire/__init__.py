"""The wire: stream entries as bytes on one side, the core's events and commands on the other. No I/O.

`entries` (what a stream delivers and what is sent), `json` (text to values, with limits), `events`, `replies`,
`commands`, `outcomes`, `dead_letters` (one kind of entry each), `keys` (the names of streams).
"""
