-- Operations on a dict kept as one hash, where no single command does them.
--
-- The first item with a timeout puts up a fence: the hash moves to a key of its own, and a string
-- takes its place. A plain HGET or HSET then gets WRONGTYPE, which tells a client to come here,
-- however late it learns of it. So a dict without timeouts pays nothing, and one with timeouts is
-- right for everybody. When the last timeout has gone the fence comes down.
--
-- Dead items are removed when they are met, and some at every change. When all items of a dict
-- have a deadline, its keys get the last one, so the server removes what nobody comes back to.
--
-- KEYS[1] the hash, or the fence in its place
-- KEYS[2] the hash behind the fence
-- KEYS[3] a sorted set: the deadline of each field that has one, in milliseconds of the server
-- ARGV[1] the operation, ARGV[2...] its arguments

local home, yard, deadlines = KEYS[1], KEYS[2], KEYS[3]
local FENCE = 'redisdict: the items are behind the fence'
local FENCE_OF_MORTAL = FENCE .. ', and expire() has been called'

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function number(value)
  return string.format('%.0f', value)
end

local kind = redis.call('TYPE', home).ok
local sign = kind == 'string' and redis.call('GETRANGE', home, 0, #FENCE_OF_MORTAL)
local fenced = sign == FENCE or sign == FENCE_OF_MORTAL
if kind ~= 'hash' and kind ~= 'none' and not fenced then
  return redis.error_reply('WRONGTYPE another program keeps a ' .. kind .. ' in ' .. home)
end
local items = fenced and yard or home
local changed = false

-- A dict whose items have all died is no more, and neither is the end that expire() gave it.
if fenced and redis.call('HLEN', yard) <= redis.call('ZCOUNT', deadlines, '-inf', number(now)) then
  redis.call('UNLINK', home, yard, deadlines)
  sign, fenced, items = false, false, home
end

local function fence()
  if fenced then return end
  redis.call('UNLINK', yard, deadlines)
  local left = redis.call('PTTL', home)
  if left ~= -2 then redis.call('RENAME', home, yard) end
  sign = left >= 0 and FENCE_OF_MORTAL or FENCE
  redis.call('SET', home, sign)
  if left >= 0 then redis.call('PEXPIRE', home, math.max(left, 1)) end
  fenced, items = true, yard
end

local function unfence()
  redis.call('DEL', home)
  if redis.call('EXISTS', yard) == 1 then
    if sign == FENCE then redis.call('PERSIST', yard) end
    redis.call('RENAME', yard, home)
  end
  sign, fenced, items = false, false, home
end

-- After every change: takes the fence down when it is needless, or sees to it that
-- the server forgets the dict when its last item dies.
local function settle()
  if not fenced then return end
  local mortal = redis.call('ZCARD', deadlines)
  if mortal == 0 then return unfence() end
  if sign == FENCE_OF_MORTAL then
    redis.call('PEXPIRE', deadlines, math.max(redis.call('PTTL', home), 1))
  elseif mortal == redis.call('HLEN', yard) then
    local last = redis.call('ZRANGE', deadlines, -1, -1, 'WITHSCORES')[2]
    for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, number(tonumber(last) + 1)) end
  else
    for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end
  end
end

local function forget(field)
  changed = true
  redis.call('HDEL', items, field)
  if fenced then redis.call('ZREM', deadlines, field) end
end

local function drop_if_dead(field)
  if not fenced then return end
  local deadline = redis.call('ZSCORE', deadlines, field)
  if deadline and tonumber(deadline) <= now then forget(field) end
end

-- Removes some dead items, so that what nobody asks for goes too; bounded, so it blocks nobody.
-- -> the number of those removed
local function sweep(most)
  if not fenced then return 0 end
  local dead = redis.call('ZRANGEBYSCORE', deadlines, '-inf', number(now), 'LIMIT', 0, most)
  if #dead > 0 then
    changed = true
    redis.call('HDEL', yard, unpack(dead))
    redis.call('ZREM', deadlines, unpack(dead))
  end
  return #dead
end

local function set_deadline(field, timeout_ms)
  changed = true
  if timeout_ms == '' then
    if fenced then redis.call('ZREM', deadlines, field) end
    return
  end
  redis.call('ZADD', deadlines, number(now + tonumber(timeout_ms)), field)
end

-- -> milliseconds until expire() ends the whole dict, -1 for ever
local function left_of_dict()
  if sign == FENCE then return -1 end
  return redis.call('PTTL', home)
end

-- -> milliseconds that a living item has left, for it doesn't outlive its dict; -1 for ever
local function left_of_item(deadline, whole)
  if not deadline then return whole end
  local left = tonumber(deadline) - now
  return whole >= 0 and math.min(left, whole) or left
end

local operations = {}

-- get FIELD -> its value
function operations.get(field)
  drop_if_dead(field)
  return redis.call('HGET', items, field)
end

-- get_many FIELD... -> values
function operations.get_many(...)
  local fields = {...}
  for _, field in ipairs(fields) do drop_if_dead(field) end
  return redis.call('HMGET', items, unpack(fields))
end

-- contains FIELD -> 0 or 1
function operations.contains(field)
  drop_if_dead(field)
  return redis.call('HEXISTS', items, field)
end

-- set TIMEOUT_MS|'' FIELD VALUE... -> number of fields
function operations.set(timeout_ms, ...)
  local pairs = {...}
  if timeout_ms ~= '' then fence() end
  sweep(100)
  redis.call('HSET', items, unpack(pairs))
  for position = 1, #pairs, 2 do set_deadline(pairs[position], timeout_ms) end
  return #pairs / 2
end

-- add TIMEOUT_MS|'' FIELD VALUE -> 1 when it was not there
function operations.add(timeout_ms, field, value)
  drop_if_dead(field)
  if redis.call('HEXISTS', items, field) == 1 then return 0 end
  operations.set(timeout_ms, field, value)
  return 1
end

-- delete FIELD... -> number of those that were there
function operations.delete(...)
  local fields = {...}
  for _, field in ipairs(fields) do drop_if_dead(field) end
  changed = true
  local count = redis.call('HDEL', items, unpack(fields))
  if fenced then redis.call('ZREM', deadlines, unpack(fields)) end
  sweep(100)
  return count
end

-- pop FIELD -> its value, which is gone
function operations.pop(field)
  drop_if_dead(field)
  local value = redis.call('HGET', items, field)
  forget(field)
  return value
end

-- popitem -> {field, value} of any item, which is gone; nil from an empty dict;
-- {} when there were too many dead ones to remove at once: call it again
function operations.popitem()
  local most = 1000
  if sweep(most) == most then return {} end
  local field = redis.call('HRANDFIELD', items)
  return field and {field, operations.pop(field)}
end

-- compare_and_set FIELD EXPECTED NEW -> 1 when the stored value was EXPECTED; its deadline stays
function operations.compare_and_set(field, expected, new)
  drop_if_dead(field)
  if redis.call('HGET', items, field) ~= expected then return 0 end
  redis.call('HSET', items, field, new)
  return 1
end

-- incr TIMEOUT_MS|'' FIELD DELTA -> the text of the new value, for a number
-- would lose digits in Lua; the deadline stays; a missing item begins as 0 and lives TIMEOUT_MS
function operations.incr(timeout_ms, field, delta)
  drop_if_dead(field)
  local is_new = timeout_ms ~= '' and redis.call('HEXISTS', items, field) == 0
  redis.call('HINCRBY', items, field, delta)
  changed = true
  if is_new then
    fence()
    set_deadline(field, timeout_ms)
  end
  return redis.call('HGET', items, field)
end

-- touch TIMEOUT_MS|'' FIELD -> 1 when the item is there
function operations.touch(timeout_ms, field)
  drop_if_dead(field)
  if redis.call('HEXISTS', items, field) == 0 then return 0 end
  if timeout_ms ~= '' then fence() end
  set_deadline(field, timeout_ms)
  return 1
end

-- ttl FIELD -> milliseconds, -1 for ever, -2 not there
function operations.ttl(field)
  drop_if_dead(field)
  if redis.call('HEXISTS', items, field) == 0 then return -2 end
  local deadline = fenced and redis.call('ZSCORE', deadlines, field)
  return left_of_item(deadline, left_of_dict())
end

-- len -> number of living items
function operations.len()
  local count = redis.call('HLEN', items)
  if fenced then count = count - redis.call('ZCOUNT', deadlines, '-inf', number(now)) end
  return count
end

-- Calls deliver(field, value, deadline) for each living item of a page -> the cursor of the next.
local function each_of_page(deliver, ...)
  local page = redis.call('HSCAN', items, ...)
  for position = 1, #page[2], 2 do
    local field = page[2][position]
    local deadline = fenced and redis.call('ZSCORE', deadlines, field)
    if not deadline or tonumber(deadline) > now then
      deliver(field, page[2][position + 1], deadline)
    end
  end
  return page[1]
end

-- scan CURSOR COUNT NUMBER [MATCH PATTERN] -> {cursor, {field, value, ...}}
function operations.scan(...)
  local living = {}
  local cursor = each_of_page(function(field, value)
    living[#living + 1] = field
    living[#living + 1] = value
  end, ...)
  return {cursor, living}
end

-- scan_records CURSOR COUNT NUMBER -> {cursor, {field, value, milliseconds left, ...}}
function operations.scan_records(...)
  local living = {}
  local whole = left_of_dict()
  local cursor = each_of_page(function(field, value, deadline)
    living[#living + 1] = field
    living[#living + 1] = value
    living[#living + 1] = left_of_item(deadline, whole)
  end, ...)
  return {cursor, living}
end

-- set_records FIELD VALUE TIMEOUT_MS ...
function operations.set_records(...)
  local records = {...}
  fence()
  sweep(100)
  for position = 1, #records, 3 do
    redis.call('HSET', items, records[position], records[position + 1])
    set_deadline(records[position], records[position + 2])
  end
end

-- expire TIMEOUT_MS|'' -> 1 when the dict is there; the whole dict lives as long
function operations.expire(timeout_ms)
  if redis.call('EXISTS', home) == 0 then return 0 end
  changed = true
  if fenced then
    sign = timeout_ms == '' and FENCE or FENCE_OF_MORTAL
    redis.call('SET', home, sign)
  end
  for _, key in ipairs(KEYS) do
    if timeout_ms == '' then redis.call('PERSIST', key)
    else redis.call('PEXPIRE', key, timeout_ms) end
  end
  return 1
end

local result = operations[ARGV[1]](unpack(ARGV, 2))
if changed then settle() end
return result
