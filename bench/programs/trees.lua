-- trees DEPTH COUNT: builds and counts binary trees, so mostly the allocator and the collector.
local function build(depth)
  if depth == 0 then return {} end
  return { build(depth - 1), build(depth - 1) }
end
local function count(t) return t[1] and 1 + count(t[1]) + count(t[2]) or 1 end
local total, kept = 0, build(tonumber(arg[1]))
for _ = 1, tonumber(arg[2]) do total = total + count(build(tonumber(arg[1]))) end
print(total, count(kept))
