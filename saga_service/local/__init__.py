"""The whole system on one machine, as real processes: for a first look (`demo`), for work (`dev`), for measuring
(`bench`)."""
