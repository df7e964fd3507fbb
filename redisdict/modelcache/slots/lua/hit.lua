-- Reads the versions of tables and a result, where all of them lie on one server.
--
-- It changes nothing and begins nothing: whatever isn't as it is at most hits gives nothing, and the
-- reader asks again, by read.lua and result.lua. A server that doesn't tell its name has to be asked
-- by read.lua each time, of which each table has one of its own.
--
-- KEYS[1...] the tables, KEYS[last] the result
-- ARGV[1] TIME: the time to live of the result is asked for, too; it may be left out
-- ARGV[last] the name of the server's incarnation
-- -> the tables' cells and the result's, and milliseconds that it lives, as PTTL tells; nothing
--    while a barrier stands on a table, or its version is none of this incarnation

local incarnation = ARGV[#ARGV]
if incarnation == '' then return false end
local cells = redis.call('MGET', unpack(KEYS))
for position = 1, #KEYS - 1 do
  local cell = cells[position]
  if not cell or string.byte(cell) ~= 71 or string.sub(cell, 10) ~= incarnation then -- G
    return false
  end
end
if ARGV[2] then cells[#KEYS + 1] = redis.call('PTTL', KEYS[#KEYS]) end
return cells
