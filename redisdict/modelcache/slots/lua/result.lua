-- Reads a result that was computed of tables, or leases it to the reader who is to compute it.
--
-- Its cell is like a row's, with the versions of its tables in place of a generation: a value or a
-- lease of other versions counts as nothing. No barrier stands here: those are on the tables.
--
-- KEYS[1] the result
-- ARGV[1] the reader's token; ARGV[2] milliseconds of a lease, or 0 for no lease
-- ARGV[3] the versions, 16 bytes; ARGV[4] the fingerprint of the value's form
-- -> the stored body, or 1: leased to the reader; 2: somebody else has a lease; 3: compute it and
--    store nothing

local sub = string.sub
local token, lease_ms, versions = ARGV[1], ARGV[2], ARGV[3]
local cell = redis.call('GET', KEYS[1])
if cell and sub(cell, 2, 17) == versions then
  local kind = sub(cell, 1, 1)
  if kind == 'V' and sub(cell, 18, 25) == ARGV[4] then return sub(cell, 26) end
  if kind == 'L' and sub(cell, 18) ~= token then return 2 end
end
if lease_ms == '0' then return 3 end
redis.call('SET', KEYS[1], 'L' .. versions .. token, 'PX', lease_ms)
return 1
