"""Live events: one reader for a process looks at Postgres, and tells all who watch sagas or wait for something."""
