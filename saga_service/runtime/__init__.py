"""The loops around the engine. Each does one thing until it is told to stop; `service` runs them together.

ingest     stream -> intake          one per stream
reclaim    dead consumers' entries -> intake
timers     due sagas -> intake
requests   what was asked by SQL -> intake
recovery   sagas in flight -> intake, after Redis lost its data
lanes      intake -> engine -> publisher
relay      outbox rows that nobody published -> publisher
upkeep     trimming, consumers that are gone, sagas that ended long ago (retention)
"""
