-- KEYS: stream. ARGV: group, consumer, id, the name of a field, then names and values. Moves an entry that is still this
-- consumer's to the end of the stream, where any consumer of the group is given it as new. The field that is named is left
-- out where the entry was given out more than once: the pending list alone knows that, and it is gone with the move.
local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])
if #found == 0 then return 0 end
local fields = {}
for place = 5, #ARGV, 2 do
    if ARGV[place] ~= ARGV[4] or found[1][4] == 1 then
        fields[#fields + 1] = ARGV[place]
        fields[#fields + 1] = ARGV[place + 1]
    end
end
-- An XADD that is refused (no memory) ends the script, so that nothing is acknowledged.
redis.call('XADD', KEYS[1], '*', unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
