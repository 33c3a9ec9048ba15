if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end
for _, found in ipairs(obj.status.conditions) do
  if found.type == "Ready" then
    return {status = found.status == "True" and "Healthy" or "Degraded", message = found.message}
  end
end
return {status = "Progressing", message = "the operator has not looked at it yet"}
