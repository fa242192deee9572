"""Redis Streams: connections, group readers, the publisher, trimming. All that is known of Redis is known here."""
