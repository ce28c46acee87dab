-- A holder that gives its run back shuts itself out, and leaves a trace by which a repeat of that call (its reply was
-- lost) is told from the call of a holder whose run was taken.
local function returned_fence(fence)
  return fence .. '-'
end
