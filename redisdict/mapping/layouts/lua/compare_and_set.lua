-- Replaces a string key whose value is still the expected one; its time to live stays.
-- KEYS[1] the key; ARGV[1] the expected value; ARGV[2] the new one -> 1 when replaced
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
