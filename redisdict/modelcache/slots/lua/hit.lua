-- Reads the versions of tables and a result, where all of them lie on one server.
--
-- It changes nothing and begins nothing: whatever isn't as it is at most hits gives nothing, and the
-- reader asks again, by read.lua and result.lua. A server that doesn't tell its name has to be asked
-- by read.lua each time, of which each table has one of its own.
--
-- KEYS[1...] the tables, KEYS[last] the result
-- ARGV[1] the name of the server's incarnation
-- -> the tables' cells and the result's; nothing while a barrier stands on a table, or its version
--    is none of this incarnation

local incarnation = ARGV[1]
if incarnation == '' then return false end
local cells = redis.call('MGET', unpack(KEYS))
for position = 1, #KEYS - 1 do
  local cell = cells[position]
  if not cell or string.byte(cell) ~= 71 or string.sub(cell, 10) ~= incarnation then -- G
    return false
  end
end
return cells
