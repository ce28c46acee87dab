-- By its verb, what each effect of a commit does: a function of the prefix, the run, the place of its arguments in ARGV
-- and the time, which returns how many arguments it has. Applied again, an effect changes nothing.
local effects = {}
