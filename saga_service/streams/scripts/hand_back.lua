-- KEYS: stream. ARGV: group, consumer, idle ms, id... Makes entries look abandoned, so that others take them at once.
local returned = 0
for i = 4, #ARGV do
    local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
    if #found > 0 then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'JUSTID')
        returned = returned + 1
    end
end
return returned
