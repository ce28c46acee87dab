-- Write fields of a run together with the records that its holder appends, which stand at `first` to `last` in ARGV;
-- the number of the first follows from the mark before it. In pieces: `unpack` fails at about 8,000 values.
local function append_records(run_key, fields, before, first, last)
  local number = tonumber(string.match(before, '^%d+'))
  for place = first, last do
    if #fields >= 4000 then
      redis.call('HSET', run_key, unpack(fields))
      fields = {}
    end
    fields[#fields + 1] = number
    fields[#fields + 1] = ARGV[place]
    number = number + 1
  end
  redis.call('HSET', run_key, unpack(fields))
end
