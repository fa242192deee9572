"""The loops around the engine. Each has one activity until shutdown is requested; `service` runs them together.

consumer loops  stream -> intake, one per stream (`streams/consumer_loop.py`)
timers          due sagas -> intake
request_poller  requests made by SQL, and deferred entries that are due -> intake
recovery        sagas in flight -> intake, after Redis lost its data
lane            intake -> engine -> publisher, several of them
relay           outbox rows that were left unpublished -> publisher
maintenance     trimming, answered requests, and what was kept for its time (retention)
"""
