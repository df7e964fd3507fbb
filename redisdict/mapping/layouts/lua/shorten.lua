-- Gives string keys a time to live unless they have a shorter one.
-- KEYS the keys; ARGV[1] milliseconds
local send = redis.acall or redis.call -- see hash.lua

-- One call a key where PEXPIRE has LT (Redis 7, Valkey, Dragonfly).
local first = redis.pcall('PEXPIRE', KEYS[1], ARGV[1], 'LT')
if type(first) == 'number' then
  for position = 2, #KEYS do send('PEXPIRE', KEYS[position], ARGV[1], 'LT') end
  return
end
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left < 0 or left > tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
end
