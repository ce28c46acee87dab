-- By its verb, what each effect of a commit does: a function of the prefix, the run, the place of its arguments in ARGV
-- and the time, which returns how many arguments it has. Applied again, an effect changes nothing. What it takes away it
-- returns as a function, which cannot fail, because its key was looked at: it is called once the records are written.
local effects = {}
