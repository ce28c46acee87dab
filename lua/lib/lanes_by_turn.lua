-- The lanes that a claim reads, in order: woken runs, then by priority. In an eighth of the milliseconds of the
-- server's clock another one of them comes first, each in turn, so that no lane starves.
local function lanes_by_turn(used, now)
  local all, lanes = '0', {}
  for _, digits in ipairs(used) do all = all .. (digits or '') end
  if all == '0' then return { 'w', '0' } end
  for lane = 9, 0, -1 do
    if string.find(all, lane, 1, true) then lanes[#lanes + 1] = tostring(lane) end
  end
  if now % 8 == 0 then table.insert(lanes, 1, table.remove(lanes, math.floor(now / 8) % #lanes + 1)) end
  table.insert(lanes, 1, 'w')
  return lanes
end
