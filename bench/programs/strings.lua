-- strings N: keys built, hashed, matched, joined and sorted.
local n, seen, list, seed = tonumber(arg[1]), {}, {}, 42
for i = 1, n do
  seed = (seed * 16807) % 2147483647
  local key = string.format("k%d-%x", seed % 5000, i % 97)
  seen[key] = (seen[key] or 0) + 1
  if seen[key] == 1 then list[#list + 1] = key end
end
table.sort(list)
local text = table.concat(list, ",")
local hits = 0
for a, b in text:gmatch("k(%d+)%-(%x+)") do hits = (hits + tonumber(a) * tonumber(b, 16)) % 1000003 end
print(#list, #text, hits, (text:gsub("%-1", "+")):sub(1, 40))
