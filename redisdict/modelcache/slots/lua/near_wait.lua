-- Announces a writer's change to the processes that hold a near lease, or asks who hasn't confirmed.
--
-- The barriers are up already. What is stored is as near_renew.lua has it.
--
-- KEYS[1] the leases; KEYS[2] the key by whose change those processes are told
-- ARGV[1] the writer's own process, which has applied its change
-- ARGV[2] `t` and ARGV[3] `n` of the announcement; 0 and 0 announces
-- ARGV[4] milliseconds for which the server may not know of leases after it has begun
-- ARGV[5] BEGIN, and ARGV[6] the incarnation, as near_renew.lua has them
-- -> `t`; `n`; for how many milliseconds the slowest of those who haven't confirmed may be behind,
--    0 if there is none, -1 if there may be some that the server doesn't know of

local incarnation = ARGV[6]
local clock = redis.call('TIME')
local micros = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now = math.floor(micros / 1000)
local began = redis.call('HMGET', KEYS[1], 'i', 't', 'n')
if began[1] ~= incarnation then
  if began[1] and ARGV[5] == '' then
    return redis.error_reply('INCARNATION the leases are of another one')
  end
  redis.call('DEL', KEYS[1])
  began = {incarnation, string.format('%.0f', micros), '0'}
  redis.call('HSET', KEYS[1], 'i', began[1], 't', began[2], 'n', began[3])
end
local age = (micros - tonumber(began[2])) / 1000
if incarnation == '' or age < tonumber(ARGV[4]) then return {began[2], began[3], -1} end
local number, is_new = ARGV[3], ARGV[2] == '0'
if not is_new and ARGV[2] ~= began[2] then return {began[2], began[3], -1} end
if is_new then number = string.format('%.0f', tonumber(began[3]) + 1) end
local slowest = 0
local all = redis.call('HGETALL', KEYS[1])
for position = 1, #all, 2 do
  local name = all[position]
  if #name > 1 then
    local ends, confirmed, bound = string.match(all[position + 1], '^(%d+) (%d+) (%d+)$')
    if tonumber(ends) <= now then
      redis.call('HDEL', KEYS[1], name)
    elseif name ~= ARGV[1] and tonumber(confirmed) < tonumber(number) then
      slowest = math.max(slowest, tonumber(bound))
    end
  end
end
if is_new and slowest > 0 then
  redis.call('HSET', KEYS[1], 'n', number)
  redis.call('SET', KEYS[2], number, 'PX', 1000)
end
return {began[2], number, slowest}
