"""The doctor's checks. None changes anything, and one that may not look says which right is missing.

`findings` (their form), `stored_sagas` (what stands in Postgres), `groups` (streams, and who reads them),
`processes` (who is alive, and what they have), `clocks` (how far they differ).
"""
