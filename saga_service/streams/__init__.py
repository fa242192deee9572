"""Redis Streams. What the service knows of Redis is here, and no other folder imports its client.

connection     clients without retries
errors         Redis' errors, as the transport's
consumer       one consumer of one group: read, reclaim, acknowledge, hand back
consumer_loop  reserve room, read or reclaim, deliver
outage         how trouble is waited out and logged
pipeline       many commands in one round trip
publisher      messages out, then acknowledgements
trimming       removing what every group has handled
scripts        Lua, run by its digest
inspection     facts about streams and groups, for people
server         checks that a server can carry us
"""
