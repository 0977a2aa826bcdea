-- How a purge finds what it selects, and what it counts; whether it changes anything is up to the visitor.
--
-- A visitor is given a key and a variant, and returns whether there is something to count.
--
-- With shared/entries.lua
local keys, entries, size = 0, 0, 0

local function is_stored(key, v)
  local m = data_of(key, v)
  return m ~= nil and m.ends > now_ms
end

-- Return whether a variant is stored and has one of the labels ARGV[first] to ARGV[last].
local function is_labelled(key, v, first, last)
  if not is_stored(key, v) then return false end
  for i = first, last do
    if call('ZSCORE', base .. 'l:' .. ARGV[i], v .. key) then return true end
  end
  return false
end

-- Count what only memories hold, before anything is removed. From ARGV[first] on: key, variant and size of each entry,
-- each entry once.
local function count_held(first, is_selected)
  local is_known = {}
  for i = first, #ARGV, 3 do
    local key = ARGV[i]
    if not is_selected(key, ARGV[i + 1]) then
      entries, size = entries + 1, size + tonumber(ARGV[i + 2])
      if is_known[key] == nil then
        is_known[key] = false
        for _, v in ipairs(variants_of(key)) do is_known[key] = is_known[key] or is_selected(key, v) end
        if not is_known[key] then keys = keys + 1 end
      end
    end
  end
end

local function visit_key(key, visit)
  local any = false
  for _, v in ipairs(variants_of(key)) do any = visit(key, v) or any end
  if any then keys = keys + 1 end
end

-- Visit each variant that has one of the labels ARGV[first] to ARGV[last], once. `is_gone` is given the index and the
-- member of each that was not there.
local function visit_labelled(first, last, visit, is_gone)
  local seen, counted = {}, {}
  for i = first, last do
    local name = base .. 'l:' .. ARGV[i]
    for _, member in ipairs(call('ZRANGE', name, 0, -1)) do
      local key, v = string.sub(member, 33), string.sub(member, 1, 32)
      if not seen[member] then
        seen[member] = true
        if not visit(key, v) then
          is_gone(name, member)
        elseif not counted[key] then
          counted[key] = true
          keys = keys + 1
        end
      end
    end
  end
end

-- Visit up to `most` keys of a range of names behind the cursor, and return the next cursor; '' at the end. `after` is
-- given each key when all of it has been visited.
local function visit_range(from, to, cursor, most, visit, after)
  if call('ZCOUNT', base .. 'names', 0, 0) ~= call('ZCARD', base .. 'names') then
    call('UNLINK', base .. 'names')  -- not in the order of their bytes: ranges of it mean nothing
  end
  local start = cursor == '' and from or '(' .. cursor
  local found = call('ZRANGEBYLEX', base .. 'names', start, to, 'LIMIT', 0, most)
  for _, key in ipairs(found) do
    visit_key(key, visit)
    after(key)
  end
  return #found == most and found[most] or ''
end

local function counts(cursor) return {keys, entries, num(size), cursor} end
