-- Renews the near lease of a process on a table: until its end writers of the table wait for it.
--
-- The leases are a hash: `i` the server's incarnation in which it was begun, `t` the time of that in
-- microseconds, `n` how many changes writers have announced, and by the name of each process
-- "end confirmed bound". Leases that a server has brought from an earlier incarnation are gone, and
-- `t` tells writers for how long a process may hold one that the server knows nothing of.
--
-- KEYS[1] the leases
-- ARGV[1] the process; ARGV[2] milliseconds of the lease, 0 gives it back
-- ARGV[3] the `t` and ARGV[4] the `n` up to which the process has applied all changes, or 0 and 0
-- ARGV[5] milliseconds that the process may be behind
-- ARGV[6] BEGIN: begin anew if the leases are of another incarnation; empty: refuse then
-- ARGV[7] the name of the server's incarnation; empty when it doesn't tell
-- -> `t`, `n`, and 1 if the process has held its lease until now, 0 if not

local incarnation = ARGV[7]
local clock = redis.call('TIME')
local micros = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now = math.floor(micros / 1000)
local began = redis.call('HMGET', KEYS[1], 'i', 't', 'n', ARGV[1])
if began[1] ~= incarnation then
  if began[1] and ARGV[6] == '' then
    return redis.error_reply('INCARNATION the leases are of another one')
  end
  redis.call('DEL', KEYS[1])
  began = {incarnation, string.format('%.0f', micros), '0', false}
  redis.call('HSET', KEYS[1], 'i', began[1], 't', began[2], 'n', began[3])
end
local ends, held, confirmed = 0, 0, '0'
if began[4] then ends = tonumber(string.match(began[4], '^%d+')) end
if ends > now then held = 1 end
if held == 1 and ARGV[3] == began[2] then confirmed = ARGV[4] end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  local value = string.format('%.0f', now + tonumber(ARGV[2])) .. ' ' .. confirmed .. ' ' .. ARGV[5]
  redis.call('HSET', KEYS[1], ARGV[1], value)
end
return {began[2], began[3], held}
