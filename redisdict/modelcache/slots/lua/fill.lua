-- Stores rows whose lease is still the reader's: nobody has changed or leased them meanwhile.
--
-- KEYS rows
-- ARGV[1] the reader's token; ARGV[2] milliseconds that the rows live, or 0 for ever
-- ARGV[3...] for each row the fingerprint and the body, or nothing to give the lease back
-- -> how many leases were still the reader's

local send = redis.acall or redis.call -- see barrier.lua
local token, timeout_ms = ARGV[1], ARGV[2]
local cells = redis.call('MGET', unpack(KEYS))
local count = 0
for position, key in ipairs(KEYS) do
  local cell = cells[position]
  if cell and string.byte(cell) == 76 and string.sub(cell, 18) == token then -- L
    local value = ARGV[position + 2]
    count = count + 1
    if value == '' then
      send('DEL', key)
    else
      value = 'V' .. string.sub(cell, 2, 17) .. value
      if timeout_ms == '0' then send('SET', key, value)
      else send('SET', key, value, 'PX', timeout_ms) end
    end
  end
end
return count
