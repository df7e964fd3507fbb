-- Puts a writer's barrier up before a change is committed, or takes it down afterwards.
--
-- Either way the value and the lease that were there are gone. A cell can have the barriers of
-- several writers; each takes down its own, and what a dead writer leaves behind ends by itself.
--
-- KEYS rows or tables
-- ARGV[1] the writer's token; ARGV[2] milliseconds until the barrier ends by itself, 0 takes it down
--
-- One call asks for all cells, and those that change them are collected where the server can
-- (Dragonfly's acall): its keys lie on several threads, and each call is a message to one of them.
--
-- A cell with barriers is the letter B and, for each, its token and the time of its end: 29 bytes.

local TOKEN_LENGTH, LENGTH = 16, 29
local token, duration_ms = ARGV[1], tonumber(ARGV[2])
local cells = redis.call('MGET', unpack(KEYS))

-- The usual case at half the price: one cell, on which nobody else's barrier is.
if #KEYS == 1 then
  local cell = cells[1]
  local is_barred = cell and string.byte(cell) == 66 -- B
  if not is_barred or #cell == 1 + LENGTH and string.sub(cell, 2, 1 + TOKEN_LENGTH) == token then
    if duration_ms > 0 then
      local clock = redis.call('TIME')
      local ends = clock[1] * 1000 + math.floor(clock[2] / 1000) + duration_ms
      redis.call('SET', KEYS[1], 'B' .. token .. string.format('%013.0f', ends), 'PX', ARGV[2])
    elseif cell then
      redis.call('DEL', KEYS[1])
    end
    return
  end
end

local send = redis.acall or redis.call
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- The barriers of others that stand, and the end of the last of them.
local function others(cell)
  local standing, last = {}, 0
  if not cell or string.byte(cell) ~= 66 then return standing, last end -- B
  for first = 2, #cell, LENGTH do
    local barrier = string.sub(cell, first, first + LENGTH - 1)
    local ends = tonumber(string.sub(barrier, TOKEN_LENGTH + 1))
    if ends > now and string.sub(barrier, 1, TOKEN_LENGTH) ~= token then
      standing[#standing + 1] = barrier
      last = math.max(last, ends)
    end
  end
  return standing, last
end

local bare = {}
for position, key in ipairs(KEYS) do
  local standing, last = others(cells[position])
  if duration_ms > 0 then
    local ends = now + duration_ms
    standing[#standing + 1] = token .. string.format('%013.0f', ends)
    last = math.max(last, ends)
  end
  if #standing == 0 then
    bare[#bare + 1] = key
  else
    send('SET', key, 'B' .. table.concat(standing), 'PX', string.format('%.0f', last - now))
  end
end
if #bare > 0 then send('DEL', unpack(bare)) end
