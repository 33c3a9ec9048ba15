-- Healthy once the revision asked for is the one that runs. A rollout that was rolled back is Degraded although the
-- service serves: what Git asks for is not what runs.
local function condition(type)
  for _, found in ipairs(obj.status.conditions) do
    if found.type == type then return found end
  end
  return {status = "Unknown", message = ""}
end

local health = {status = "Progressing", message = "the operator has not looked at it yet"}

local annotations = obj.metadata.annotations or {}
if annotations["ecs-inference.dev/paused"] == "true" then
  return {status = "Suspended", message = "paused: the operator changes nothing until the annotation ecs-inference.dev/paused is gone"}
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= nil and obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at the newest spec yet"}
end

local ready, degraded, stalled = condition("Ready"), condition("Degraded"), condition("Stalled")
if ready.status == "True" then
  if obj.spec.suspend then
    return {status = "Suspended", message = ready.message}
  end
  return {status = "Healthy", message = ready.message}
end
if stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
local progressing = condition("Progressing")
if progressing.status == "True" then
  return {status = "Progressing", message = progressing.message}
end
if degraded.status == "True" then
  return {status = "Degraded", message = degraded.message}
end
health.message = ready.message
return health
