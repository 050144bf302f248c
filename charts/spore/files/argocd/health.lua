-- Health of a SporeInstance, SporeArray or SporeSweep for Argo CD. It says what the conditions say: Healthy is "as declared",
-- which a spore is while it runs and after it has ended, whatever came of its work.
local function condition(type)
  for _, found in ipairs(obj.status.conditions or {}) do
    if found.type == type then
      return found
    end
  end
  return {}
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = obj.kind == "SporeInstance" and "ending the instance" or "ending the instances" }
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the controller" }
end

local stalled = condition("Stalled")
if stalled.status == "True" then
  return { status = "Degraded", message = stalled.message }
end

local ready = condition("Ready")
if ready.status ~= "True" then
  return { status = "Progressing", message = ready.message or "waiting for the controller" }
end

local succeeded = condition("Succeeded")
if ready.reason == "Finished" and succeeded.message ~= nil then
  return { status = "Healthy", message = succeeded.message }
end
return { status = "Healthy", message = ready.message }
