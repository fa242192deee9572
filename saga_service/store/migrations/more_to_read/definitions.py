"""The definitions on record, and what still goes by them."""

from saga_service.store.migrations.first_schema.views import Columns

# Whatever has not ended has a moment at which it is looked at again, or owes an undo, or waits for a person: said in
# the words of the partial indexes, so that ended sagas, mostly many, are not read.
_NOT_ENDED = """
            select saga, version, count(*) as sagas from saga_private.sagas
            where ended_at_ms is null
                and (wake_at_ms is not null or status in ('compensating', 'stuck', 'paused'))
            group by saga, version"""

# All versions are counted at once, since this depends on none of them; and not at all where nobody asks for it.
_DRIVING = f"""coalesce((
        (
            select jsonb_object_agg(jsonb_build_array(saga, version)::text, sagas) from ({_NOT_ENDED}
            ) as not_ended
        ) ->> jsonb_build_array(definitions.saga, definitions.version)::text
    )::bigint, 0)"""

DEFINITIONS: Columns = {
    "saga": ("definitions.saga", "Name of the definition."),
    "version": ("definitions.version", "Digest of all that steers its sagas. Each ends on the version it began with."),
    "first_seen_at": ("definitions.first_seen_at", "When a replica that had this version first came up."),
    "document": (
        "definitions.document",
        "All of it as it is stored: key, input schema, deadline and steps, times in milliseconds. `format` is the"
        " form's number, which rises when the form changes.",
    ),
    "driving": (_DRIVING, "How many sagas go by it that have not ended."),
}

DEFINITIONS_SOURCE = "from saga_private.definitions"
