-- Reads rows of a cached table; each that isn't there is leased to the reader.
--
-- A server that starts again may have gone back in time: with an append-only file that is written
-- once a second, its last invalidations are lost. What it has certainly lost is its knowledge of
-- scripts. So whoever has to teach it this one begins a new generation, and nothing that an earlier
-- incarnation of the server has kept is believed. The text begins with the table's name, so each
-- table has a script, and a digest, of its own.
--
-- KEYS[1] the table, KEYS[2...] rows
-- ARGV[1] the reader's token; ARGV[2] milliseconds of a lease, or 0 for no lease
-- ARGV[3] the fingerprint of the fields; ARGV[4] 1 when the server has just been taught
-- -> for each row the stored body, or 1: leased to the reader; 2: somebody else has a lease;
--    3: read the database and store nothing

local LEASED, BUSY, BLOCKED = 1, 2, 3
local LEASE, BARRIER = 76, 66 -- L, B
local byte, sub = string.byte, string.sub
local token, lease_ms, fingerprint = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local rows = redis.call('MGET', unpack(KEYS))
local table_cell = rows[1]
if table_cell and byte(table_cell) == BARRIER then
  for position = 2, #rows do rows[position - 1] = BLOCKED end
  rows[#rows] = nil
  return rows
end
if not table_cell or ARGV[4] == '1' then
  -- One reader can come here twice, so its token alone would be no new name.
  local clock = redis.call('TIME')
  table_cell = 'G' .. sub(redis.sha1hex(token .. clock[1] .. '.' .. clock[2]), 1, 16)
  redis.call('SET', KEYS[1], table_cell)
end
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
  if lease_ms == 0 then return BLOCKED end
  redis.call('SET', key, 'L' .. generation .. token, 'PX', lease_ms)
  return LEASED
end

for position = 2, #rows do rows[position - 1] = answer(KEYS[position], rows[position]) end
rows[#rows] = nil
return rows
