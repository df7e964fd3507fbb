-- Reads rows of a cached table; each that isn't there is leased to the reader.
--
-- A server that starts again, and a replica that takes over, may have gone back in time: the last
-- invalidations are lost. So a generation is one of an incarnation of the server, whose name is its
-- second half, and a reader says to which one its connection leads. Of another one nothing is
-- believed: the reader asks the server for its name anew, and then begins a new generation.
--
-- Where a server doesn't tell its name there is what most of them forget, their scripts: whoever
-- has to teach it this one begins a new generation. The text begins with the table's name, so each
-- table has a script, and a digest, of its own. Where the server tells its name, to be taught is no
-- reason: processes that find it ignorant at the same time would take each other's leases away.
--
-- KEYS[1] the table, KEYS[2...] rows
-- ARGV[1] the reader's token; ARGV[2] milliseconds of a lease, or 0 for no lease
-- ARGV[3] the fingerprint of the fields
-- ARGV[4] BEGIN: begin a generation if the table's is of another incarnation; TAUGHT: also if the
--         server doesn't tell its name, for it has just been taught. It is left out at first:
--         refuse then
-- ARGV[last] the name of the server's incarnation; empty when it doesn't tell, and any will do
-- -> for each row the stored body, or 1: leased to the reader; 2: somebody else has a lease;
--    3: read the database and store nothing. Asked for no row, the table's cell, which is its
--    version; and nothing while a barrier stands on the table

local LEASED, BUSY, BLOCKED = 1, 2, 3
local LEASE, BARRIER = 76, 66 -- L, B
local byte, sub = string.byte, string.sub
local send = redis.acall or redis.call -- see barrier.lua
local token, lease_ms, fingerprint, incarnation = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local task
if ARGV[5] then task, incarnation = ARGV[4], ARGV[5] end

local rows = redis.call('MGET', unpack(KEYS))
local table_cell = rows[1]
if table_cell and byte(table_cell) == BARRIER then
  for position = 2, #rows do rows[position - 1] = BLOCKED end
  rows[#rows] = nil
  return rows
end
local is_of_another = table_cell and incarnation ~= '' and sub(table_cell, 10) ~= incarnation
if is_of_another and not task then
  return redis.error_reply('INCARNATION the rows are of another one')
end
if not table_cell or is_of_another or task == 'TAUGHT' and incarnation == '' then
  -- One reader can come here twice, so its token alone would be no new name.
  local clock = redis.call('TIME')
  local digest = redis.sha1hex(token .. clock[1] .. '.' .. clock[2])
  local name = string.gsub(digest, '%x%x', function(hex) return string.char(tonumber(hex, 16)) end)
  table_cell = 'G' .. sub(name, 1, 16 - #incarnation) .. incarnation
  redis.call('SET', KEYS[1], table_cell)
end
if #KEYS == 1 then return {table_cell} end
local generation = sub(table_cell, 2)
local head = 'V' .. generation .. fingerprint

local function answer(key, cell)
  if cell then
    if sub(cell, 1, 25) == head then return sub(cell, 26) end
    local kind = byte(cell)
    if kind == BARRIER then return BLOCKED end
    if kind == LEASE and sub(cell, 2, 17) == generation and sub(cell, 18) ~= token then
      return BUSY
    end
  end
  if lease_ms == '0' then return BLOCKED end
  send('SET', key, 'L' .. generation .. token, 'PX', lease_ms)
  return LEASED
end

for position = 2, #rows do rows[position - 1] = answer(KEYS[position], rows[position]) end
rows[#rows] = nil
return rows
