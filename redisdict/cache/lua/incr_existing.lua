-- Adds to a string key that is an integer, unless there is none; its time to live stays.
-- KEYS[1] the key; ARGV[1] what to add -> the sum as text, false when there is no such key
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('INCRBY', KEYS[1], ARGV[1])
-- Read back, for a number of Lua's has 53 bits.
return redis.call('GET', KEYS[1])
