-- Operations on a dict kept as one hash, where no single command does them.
--
-- The first item with a timeout relocates the dict: the hash moves to a key of its own, and a
-- string, the marker, takes its place under the public key. A plain HGET or HSET then gets
-- WRONGTYPE, which tells a client to come here, however late it learns of it. So a dict without
-- timeouts pays nothing, and one with timeouts is right for everybody. With the last timeout the
-- hash moves back.
--
-- Dead items are removed when they are met, and some at every change. When all items of a dict
-- have a deadline, its keys get the last one, so the server removes what nobody comes back to.
--
-- No command is called once for each field, and few are called at all: where the three keys lie on
-- different threads, as in Dragonfly, each call is a message to another thread and its answer.
--
-- KEYS[1] the public key: the hash, or the marker in its place
-- KEYS[2] the relocated key: the hash while the marker is there
-- KEYS[3] a sorted set: the deadline of each field that has one, in milliseconds of the server
-- ARGV[1] the operation, ARGV[2...] its arguments

local public_key, relocated_key, deadlines = KEYS[1], KEYS[2], KEYS[3]
-- The text is the one that the first release stored.
local MARKER = 'redisdict: the items are behind the fence'
local MARKER_OF_MORTAL = MARKER .. ', and expire() has been called'

-- For calls whose replies nobody needs: Dragonfly collects them until the next that somebody does.
local send = redis.acall or redis.call

-- So many values unpack() takes for certain.
local MOST_ARGUMENTS = 5000

local kind = redis.call('TYPE', public_key).ok
local sign = kind == 'string' and redis.call('GETRANGE', public_key, 0, #MARKER_OF_MORTAL)
local is_relocated = sign == MARKER or sign == MARKER_OF_MORTAL
if kind ~= 'hash' and kind ~= 'none' and not is_relocated then
  return redis.error_reply('WRONGTYPE another program keeps a ' .. kind .. ' in ' .. public_key)
end
local items = is_relocated and relocated_key or public_key
local changed = false

local function number(value)
  return string.format('%.0f', value)
end

local present
local function now()
  if not present then
    local clock = redis.call('TIME')
    present = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  end
  return present
end

-- -> the number of dead items that have not been removed
local dead_count
local function count_dead()
  if not is_relocated then return 0 end
  dead_count = dead_count or redis.call('ZCOUNT', deadlines, '-inf', number(now()))
  return dead_count
end

-- A dict whose items have all died is no more, and neither is the end that expire() gave it.
local function bury()
  if is_relocated and redis.call('HLEN', relocated_key) <= count_dead() then
    redis.call('UNLINK', public_key, relocated_key, deadlines)
    sign, is_relocated, items, dead_count = false, false, public_key, nil
  end
end

local function relocate()
  if is_relocated then return end
  redis.call('UNLINK', relocated_key, deadlines)
  local left = redis.call('PTTL', public_key)
  if left ~= -2 then redis.call('RENAME', public_key, relocated_key) end
  sign = left >= 0 and MARKER_OF_MORTAL or MARKER
  redis.call('SET', public_key, sign)
  if left >= 0 then redis.call('PEXPIRE', public_key, math.max(left, 1)) end
  is_relocated, items = true, relocated_key
end

local function move_back()
  redis.call('DEL', public_key)
  if redis.call('EXISTS', relocated_key) == 1 then
    if sign == MARKER then redis.call('PERSIST', relocated_key) end
    redis.call('RENAME', relocated_key, public_key)
  end
  sign, is_relocated, items = false, false, public_key
end

-- After every change: moves the hash back when no item has a deadline, or sees to it that
-- the server forgets the dict when its last item dies.
local function settle()
  if not is_relocated then return end
  local mortal = redis.call('ZCARD', deadlines)
  if mortal == 0 then return move_back() end
  if sign == MARKER_OF_MORTAL then
    redis.call('PEXPIRE', deadlines, math.max(redis.call('PTTL', public_key), 1))
  elseif mortal == redis.call('HLEN', relocated_key) then
    local last = redis.call('ZRANGE', deadlines, -1, -1, 'WITHSCORES')[2]
    for _, key in ipairs(KEYS) do send('PEXPIREAT', key, number(tonumber(last) + 1)) end
  else
    for _, key in ipairs(KEYS) do send('PERSIST', key) end
  end
end

local function forget(...)
  changed, dead_count = true, nil
  send('HDEL', items, ...)
  if is_relocated then send('ZREM', deadlines, ...) end
end

-- -> for each of the fields its deadline, or false
local function deadlines_of(fields)
  local found = {}
  for first = 1, #fields, MOST_ARGUMENTS do
    local last = math.min(first + MOST_ARGUMENTS - 1, #fields)
    for _, deadline in ipairs(redis.call('ZMSCORE', deadlines, unpack(fields, first, last))) do
      found[#found + 1] = tonumber(deadline) or false
    end
  end
  return found
end

local function drop_dead(...)
  if count_dead() == 0 then return end
  local fields, dead = {...}, {}
  for position, deadline in ipairs(deadlines_of(fields)) do
    if deadline and deadline <= now() then dead[#dead + 1] = fields[position] end
  end
  if #dead > 0 then forget(unpack(dead)) end
end

-- Removes some dead items, so that what nobody asks for goes too; bounded, so it blocks nobody.
-- -> the number of those removed
local function sweep(most)
  if count_dead() == 0 then return 0 end
  local dead = redis.call('ZRANGEBYSCORE', deadlines, '-inf', number(now()), 'LIMIT', 0, most)
  if #dead > 0 then forget(unpack(dead)) end
  return #dead
end

-- The dict is relocated_key when there is a timeout.
local function set_deadline(timeout_ms, ...)
  changed = true
  if timeout_ms == '' then
    if is_relocated then send('ZREM', deadlines, ...) end
    return
  end
  local deadline, arguments = number(now() + tonumber(timeout_ms)), {}
  for _, field in ipairs({...}) do
    arguments[#arguments + 1] = deadline
    arguments[#arguments + 1] = field
  end
  send('ZADD', deadlines, unpack(arguments))
end

-- -> milliseconds until expire() ends the whole dict, -1 for ever
local function left_of_dict()
  if sign == MARKER then return -1 end
  return redis.call('PTTL', public_key)
end

-- -> milliseconds that a living item has left, for it doesn't outlive its dict; -1 for ever
local function left_of_item(deadline, whole)
  if not deadline then return whole end
  local left = deadline - now()
  return whole >= 0 and math.min(left, whole) or left
end

-- Stores items; how many fields there were.
local function store(timeout_ms, ...)
  bury()
  sweep(100)
  if timeout_ms ~= '' then relocate() end
  send('HSET', items, ...)
  local pairs, fields = {...}, {}
  for position = 1, #pairs, 2 do fields[#fields + 1] = pairs[position] end
  set_deadline(timeout_ms, unpack(fields))
  return #fields
end

-- Takes an item out -> its value
local function take(field)
  local value = redis.call('HGET', items, field)
  if value then forget(field) end
  return value
end

-- Calls deliver(field, value, deadline) for each living item of a page -> the cursor of the next.
-- The deadline is told when it is wanted.
local function each_of_page(deliver, is_deadline_wanted, ...)
  local cursor, flat = unpack(redis.call('HSCAN', items, ...))
  local found
  if is_relocated and (is_deadline_wanted or count_dead() > 0) then
    local fields = {}
    for position = 1, #flat, 2 do fields[#fields + 1] = flat[position] end
    found = deadlines_of(fields)
  end
  for position = 1, #flat, 2 do
    local deadline = found and found[(position + 1) / 2]
    if not deadline or deadline > now() then
      deliver(flat[position], flat[position + 1], deadline)
    end
  end
  return cursor
end

-- Making a function takes the server as long as a call, so only the one that is asked for is made.
local name, operation = ARGV[1], nil

if name == 'get' then
  -- get FIELD -> its value
  operation = function(field)
    drop_dead(field)
    return redis.call('HGET', items, field)
  end
elseif name == 'get_many' then
  -- get_many FIELD... -> values
  operation = function(...)
    drop_dead(...)
    return redis.call('HMGET', items, ...)
  end
elseif name == 'contains' then
  -- contains FIELD -> 0 or 1
  operation = function(field)
    drop_dead(field)
    return redis.call('HEXISTS', items, field)
  end
elseif name == 'set' then
  -- set TIMEOUT_MS|'' FIELD VALUE... -> number of fields
  operation = store
elseif name == 'add' then
  -- add TIMEOUT_MS|'' FIELD VALUE -> 1 when it was not there
  operation = function(timeout_ms, field, value)
    drop_dead(field)
    if redis.call('HEXISTS', items, field) == 1 then return 0 end
    store(timeout_ms, field, value)
    return 1
  end
elseif name == 'delete' then
  -- delete FIELD... -> number of those that were there
  operation = function(...)
    drop_dead(...)
    changed = true
    local count = redis.call('HDEL', items, ...)
    if is_relocated then send('ZREM', deadlines, ...) end
    sweep(100)
    return count
  end
elseif name == 'pop' then
  -- pop FIELD -> its value, which is gone
  operation = function(field)
    drop_dead(field)
    return take(field)
  end
elseif name == 'popitem' then
  -- popitem -> {field, value} of any item, which is gone; nil from an empty dict;
  -- {} when there were too many dead ones to remove at once: call it again
  operation = function()
    local most = 1000
    if sweep(most) == most then return {} end
    local field = redis.call('HRANDFIELD', items)
    return field and {field, take(field)}
  end
elseif name == 'compare_and_set' then
  -- compare_and_set FIELD EXPECTED NEW -> 1 when the stored value was EXPECTED; its deadline stays
  operation = function(field, expected, new)
    drop_dead(field)
    if redis.call('HGET', items, field) ~= expected then return 0 end
    send('HSET', items, field, new)
    return 1
  end
elseif name == 'incr' then
  -- incr TIMEOUT_MS|'' FIELD DELTA -> the text of the new value, for a number
  -- would lose digits in Lua; the deadline stays; a missing item begins as 0 and lives TIMEOUT_MS
  operation = function(timeout_ms, field, delta)
    bury()
    drop_dead(field)
    local is_new = timeout_ms ~= '' and redis.call('HEXISTS', items, field) == 0
    redis.call('HINCRBY', items, field, delta)
    changed = true
    if is_new then
      relocate()
      set_deadline(timeout_ms, field)
    end
    return redis.call('HGET', items, field)
  end
elseif name == 'touch' then
  -- touch TIMEOUT_MS|'' FIELD -> 1 when the item is there
  operation = function(timeout_ms, field)
    drop_dead(field)
    if redis.call('HEXISTS', items, field) == 0 then return 0 end
    if timeout_ms ~= '' then relocate() end
    set_deadline(timeout_ms, field)
    return 1
  end
elseif name == 'ttl' then
  -- ttl FIELD -> milliseconds, -1 for ever, -2 not there
  operation = function(field)
    drop_dead(field)
    if redis.call('HEXISTS', items, field) == 0 then return -2 end
    return left_of_item(is_relocated and deadlines_of({field})[1], left_of_dict())
  end
elseif name == 'get_with_ttl' then
  -- get_with_ttl FIELD -> {its value, milliseconds}, -1 for ever, -2 not there
  operation = function(field)
    drop_dead(field)
    local value = redis.call('HGET', items, field)
    if not value then return {false, -2} end
    return {value, left_of_item(is_relocated and deadlines_of({field})[1], left_of_dict())}
  end
elseif name == 'len' then
  -- len -> number of living items
  operation = function()
    return math.max(redis.call('HLEN', items) - count_dead(), 0)
  end
elseif name == 'scan' then
  -- scan CURSOR COUNT NUMBER [MATCH PATTERN] -> {cursor, {field, value, ...}}
  operation = function(...)
    local living = {}
    local cursor = each_of_page(function(field, value)
      living[#living + 1] = field
      living[#living + 1] = value
    end, false, ...)
    return {cursor, living}
  end
elseif name == 'scan_records' then
  -- scan_records CURSOR COUNT NUMBER -> {cursor, {field, value, milliseconds left, ...}}
  operation = function(...)
    local living = {}
    local whole = left_of_dict()
    local cursor = each_of_page(function(field, value, deadline)
      living[#living + 1] = field
      living[#living + 1] = value
      living[#living + 1] = left_of_item(deadline, whole)
    end, true, ...)
    return {cursor, living}
  end
elseif name == 'set_records' then
  -- set_records FIELD VALUE TIMEOUT_MS ...
  operation = function(...)
    local records, pairs, ends = {...}, {}, {}
    bury()
    sweep(100)
    relocate()
    changed = true
    for position = 1, #records, 3 do
      local field = records[position]
      pairs[#pairs + 1] = field
      pairs[#pairs + 1] = records[position + 1]
      ends[#ends + 1] = number(now() + tonumber(records[position + 2]))
      ends[#ends + 1] = field
    end
    send('HSET', items, unpack(pairs))
    send('ZADD', deadlines, unpack(ends))
  end
elseif name == 'expire' then
  -- expire TIMEOUT_MS|'' -> 1 when the dict is there; the whole dict lives as long
  operation = function(timeout_ms)
    bury()
    if redis.call('EXISTS', public_key) == 0 then return 0 end
    changed = true
    if is_relocated then
      sign = timeout_ms == '' and MARKER or MARKER_OF_MORTAL
      redis.call('SET', public_key, sign)
    end
    for _, key in ipairs(KEYS) do
      if timeout_ms == '' then send('PERSIST', key) else send('PEXPIRE', key, timeout_ms) end
    end
    return 1
  end
end

local result = operation(unpack(ARGV, 2))
if changed then settle() end
return result
