-- KEYS: stream. ARGV: group or ''. The stream as it is now: seconds and microseconds of this server's clock, 1 if the
-- group is there, the last id, how many entries were ever added ('' before Redis 7), the length, the first id.
local now = redis.call('TIME')
if redis.call('EXISTS', KEYS[1]) == 0 then return {now[1], now[2], 0, '0-0', '', 0, '0-0'} end
local info = {}
local flat = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
local has_group = 0
for _, facts in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for i = 1, #facts, 2 do
        if facts[i] == 'name' and facts[i + 1] == ARGV[1] then has_group = 1 end
    end
end
local first = '0-0'
if info['first-entry'] then first = info['first-entry'][1] end
return {now[1], now[2], has_group, info['last-generated-id'], tostring(info['entries-added'] or ''), info['length'], first}
