"""Redaction of members of inner objects, for which Fluent Bit has no filter of its own: a script in Lua.

It works on a line's text, before that is parsed: numbers come through as they were written, which Lua could not hold,
and of two members of a name both are seen. Routes see the line as it was. So the script only prepares: beside the line
it puts an object of those members alone that a path begins with, masked. They replace the line's own at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MASKED: Final = "_rt_masked"
"""The member with the text of that object. It is empty, and replaces the line's own by nothing, if the script fails."""

SCRIPT: Final = r"""
local function quoted(text, at)
  local stop = text:find('[\\"]', at + 1)
  while text:byte(stop) == 92 do stop = text:find('[\\"]', stop + 2) end
  return stop
end

local function plain(name)
  return (name:gsub("\\u00(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function below(paths, name)
  local inner, told = {}, nil
  for path, text in pairs(paths) do
    if path == name then told = text end
    if path:sub(1, #name + 1) == name .. "." then inner[path:sub(#name + 2)] = text end
  end
  return inner, told
end

local met

local function masked(text, at, paths, all)
  local first = text:sub(at, at)
  if first == '"' then
    local stop = quoted(text, at)
    return text:sub(at, stop), stop + 1
  elseif first ~= "{" and first ~= "[" then
    local stop = text:find("[%s,%]}]", at)
    return text:sub(at, stop - 1), stop
  end
  local parts = {}
  at = text:find("%S", at + 1)
  while not text:find("^[%]}]", at) do
    local name, inner, told = "", paths, nil
    if first == "{" then
      local stop = quoted(text, at)
      inner, told = below(paths, plain(text:sub(at + 1, stop - 1)))
      name, at = text:sub(at, stop) .. ":", text:find("[^%s:]", stop + 1)
    end
    local value, stop = masked(text, at, inner, true)
    local asked = told or next(inner)
    met = met or asked
    if (all or asked) and told ~= "" then parts[#parts + 1] = name .. (told or value) end
    at = text:find("[^%s,]", stop)
  end
  return first .. table.concat(parts, ",") .. text:sub(at, at), at + 1
end

function mask(tag, time, record)
  local text = record._rt_json
  if not text then return 0, time, record end
  met = nil
  local done, found = pcall(masked, text, text:find("{", 1, true), paths, false)
  record._rt_masked = done and found or ""
  return (met or not done) and 2 or 0, time, record
end
"""


def script(redact: Sequence[str], remove: Sequence[str]) -> str:
    """In one line. Of what a name may have nothing ends a text of Lua's."""
    told = {**dict.fromkeys(redact, "'\"[redacted]\"'"), **dict.fromkeys(remove, "''")}
    paths = ", ".join(f'["{path}"] = {text}' for path, text in told.items())
    return f"local paths = {{{paths}}} {' '.join(SCRIPT.split())}"


def beginnings(paths: Sequence[str]) -> Sequence[str]:
    """What the outermost members of these paths can be called: of `a.b` also `a.b`, which may be one name."""
    found = {".".join(path.split(".")[:length]) for path in paths for length in range(1, path.count(".") + 2)}
    return sorted(found)
