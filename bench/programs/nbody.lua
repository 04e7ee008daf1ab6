-- nbody STEPS: five bodies in double precision.
local sqrt, w = math.sqrt, {}
for i = 0, 4 do
  w[#w + 1] = { x = i * 3.1, y = i * 1.7 - 2, z = i * 0.3, vx = 0.1 * i, vy = 0.4 - 0.1 * i, vz = 0.02 * i,
    m = i == 0 and 39 or 0.01 * i }
end
for _ = 1, tonumber(arg[1]) do
  for i = 1, 5 do
    local a = w[i]
    for j = i + 1, 5 do
      local b = w[j]
      local dx, dy, dz = a.x - b.x, a.y - b.y, a.z - b.z
      local d = dx * dx + dy * dy + dz * dz
      local f = 0.001 / (d * sqrt(d))
      a.vx, a.vy, a.vz = a.vx - dx * b.m * f, a.vy - dy * b.m * f, a.vz - dz * b.m * f
      b.vx, b.vy, b.vz = b.vx + dx * a.m * f, b.vy + dy * a.m * f, b.vz + dz * a.m * f
    end
  end
  for i = 1, 5 do
    local a = w[i]
    a.x, a.y, a.z = a.x + 0.001 * a.vx, a.y + 0.001 * a.vy, a.z + 0.001 * a.vz
  end
end
print(string.format("%.12f %.12f %.12f", w[1].x, w[2].y, w[5].vz))
