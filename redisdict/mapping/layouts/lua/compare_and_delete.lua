-- Deletes a string key whose value is still the expected one.
-- KEYS[1] the key; ARGV[1] the expected value -> 1 when deleted
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
