-- What whoever awaits a run is told of its end: with a small payload they need not read it. Names hold no line breaks.
local function told_end(workflow, status, payload)
  if #payload > 16384 then return status end
  return status .. '\n' .. workflow .. '\n' .. payload
end
