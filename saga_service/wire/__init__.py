"""The wire: stream entries as bytes on one side, the core's events and commands on the other. No I/O.

- `entries`, `fields`, `json`: an entry, its fields, and JSON text within limits.
- `stream_names`, `saga_spec`, `encryption`, `transport`: what the readers and writers have to know.
- `events`, `operations`, `children`: entries of the common stream; `own_events`: those of the service itself.
- `commands`, `replies`: the conversation with workers.
- `outcomes`, `dead_letters`: announcements.
"""
