"""The wire: stream entries as bytes on one side, the core's events and commands on the other. No I/O.

- `entries`, `fields`, `json`: an entry, its fields, and JSON text within limits.
- `saga_spec`, `encryption`, `transport`: what the readers and writers have to know.
- `events`, `operations`, `children`: entries of the common stream, the service's own events, the end of a saga.
- `commands`, `replies`: the conversation with workers; `worker_description`: what a worker can carry out.
- `dead_letters`: entries that nobody could use.
"""
