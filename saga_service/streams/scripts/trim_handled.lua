-- KEYS: stream. ARGV: oldest id to keep whatever the groups say, or ''. Removes what every group has acknowledged:
-- up to the lowest, over all groups, of the oldest pending id, else the last delivered one.
-- A stream without a group is left alone, unless an age is given: its readers may only come later.
-- Ids are compared as digits: as numbers, those beyond 2^53 would be rounded.
local function less(a, b)
    if #a ~= #b then return #a < #b end
    return a < b
end
local function before(a, b)
    local a1, a2 = string.match(a, '(%d+)-(%d+)')
    local b1, b2 = string.match(b, '(%d+)-(%d+)')
    return less(a1, b1) or (a1 == b1 and less(a2, b2))
end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local limit = nil
if ARGV[1] ~= '' then limit = ARGV[1] end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if #groups == 0 and limit == nil then return 0 end
for _, flat in ipairs(groups) do
    local group = {}
    for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
    local oldest = group['last-delivered-id']
    local pending = redis.call('XPENDING', KEYS[1], group['name'])
    if pending[1] > 0 then oldest = pending[2] end
    if limit == nil or before(oldest, limit) then limit = oldest end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', limit)
