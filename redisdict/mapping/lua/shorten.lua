-- Gives string keys a time to live unless they have a shorter one.
-- KEYS the keys; ARGV[1] milliseconds
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left < 0 or left > tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
end
