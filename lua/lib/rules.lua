-- By its name, what each rule of a start says: a function of the prefix, the new run, the place of its arguments in
-- ARGV and the time, which returns how many arguments it has, and either the reply that makes a run unnecessary, or
-- what it writes once the run is to be created. A rule may set `new.available`.
local rules = {}
