-- KEYS: stream. ARGV: group, consumer, id, then names and values. Moves an entry that is still this consumer's to the
-- end of the stream, where any consumer of the group is given it as new.
local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])
if #found == 0 then return 0 end
-- An XADD that is refused (no memory) ends the script, so that nothing is acknowledged.
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
