-- Reads the version of the rows that have one value of a column; begins one where there is none.
--
-- It is a generation like a table's, and is read as read.lua reads that, for no row. But there are
-- as many as there are values, so each ends by itself, and all share one script. That tells nothing
-- of a server that has gone back in time and doesn't tell its name: there the version of the column,
-- which is read with it and has a script of its own, is another one.
--
-- KEYS[1] the cell of the value
-- ARGV[1] the reader's token; ARGV[2] and ARGV[3] aren't looked at
-- ARGV[4] BEGIN or TAUGHT, as read.lua has them; it is left out at first
-- ARGV[last] the name of the server's incarnation; empty when it doesn't tell
-- -> the cell; nothing while a barrier stands on it

local LIVES_MS = 86400000
local BARRIER = 66 -- B
local incarnation = ARGV[#ARGV]
local cell = redis.call('GET', KEYS[1])
if cell then
  if string.byte(cell) == BARRIER then return {} end
  if incarnation == '' or string.sub(cell, 10) == incarnation then return {cell} end
  if #ARGV == 4 then return redis.error_reply('INCARNATION the version is of another one') end
end
-- One reader can come here twice, so its token alone would be no new name.
local clock = redis.call('TIME')
local digest = redis.sha1hex(ARGV[1] .. clock[1] .. '.' .. clock[2])
local name = string.gsub(digest, '%x%x', function(hex) return string.char(tonumber(hex, 16)) end)
cell = 'G' .. string.sub(name, 1, 16 - #incarnation) .. incarnation
redis.call('SET', KEYS[1], cell, 'PX', LIVES_MS)
return {cell}
