-- KEYS: stream. ARGV: group, idle ms, consumer or ''. Removes consumers that are idle and have nothing pending:
-- removing one with pending entries would lose them.
local removed = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local consumer = {}
    for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
    local meant = ARGV[3] == '' or ARGV[3] == consumer['name']
    if meant and consumer['pending'] == 0 and consumer['idle'] >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
        removed = removed + 1
    end
end
return removed
