-- Gives a string key whose value is still the expected one another time to live.
-- KEYS[1] the key; ARGV[1] the expected value; ARGV[2] milliseconds -> 1 when given
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
