-- Write fields of a run together with the records that its holder appends, which stand at `first` to `last` in ARGV;
-- the number of the first follows from the mark before it. In pieces: `unpack` fails at about 8,000 values.
local function append_records(run_key, fields, before, first, last)
  -- Text, as the mark has it, and for most rows the only one: a number costs the server more to write than all of this.
  local number, size = string.match(before, '^%d+'), #fields
  for place = first, last do
    if size >= 4000 then
      redis.call('HSET', run_key, unpack(fields))
      fields, size = {}, 0
    end
    fields[size + 1], fields[size + 2] = number, ARGV[place]
    size = size + 2
    if place < last then number = number + 1 end
  end
  redis.call('HSET', run_key, unpack(fields))
end
