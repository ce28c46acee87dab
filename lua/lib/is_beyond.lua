-- Whether the new run whose row begins at `at` in ARGV is to begin or to end more than ten years from now: a unit was
-- mistaken for another.
local function is_beyond(at, now)
  local last = now + 315619200000
  return (instant(ARGV[at + 5], now) or 0) > last or (instant(ARGV[at + 6], now) or 0) > last
end
