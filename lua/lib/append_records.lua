-- Write fields of a run together with the records that its holder appends, which stand at `first` to `last` in ARGV;
-- the number of the first follows from the mark before it. In pieces: `unpack` fails at about 8,000 values.
local function append_records(run_key, fields, before, first, last)
  local number, size = tonumber(string.match(before, '^%d+')), #fields
  for place = first, last do
    if size >= 4000 then
      redis.call('HSET', run_key, unpack(fields))
      fields, size = {}, 0
    end
    fields[size + 1], fields[size + 2] = number, ARGV[place]
    number, size = number + 1, size + 2
  end
  redis.call('HSET', run_key, unpack(fields))
end
