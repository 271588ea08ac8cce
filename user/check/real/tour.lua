-- Some of each thing that Lua asks of a system: memory, files, time, the environment. The program `lua` runs it.
--
-- Run by: `tests/tests/boot/real.rs`.
local function primes(limit)
  local composite, found = {}, {}
  for n = 2, limit do
    if not composite[n] then
      found[#found + 1] = n
      for m = n * n, limit, n do composite[m] = true end
    end
  end
  return found
end
print(_VERSION, #primes(20000), arg[1])

-- Garbage, a lot of it.
local kept = {}
for i = 1, 200000 do kept[i % 1000 + 1] = { i, tostring(i) } end
collectgarbage()
print(#kept, kept[7][2], collectgarbage("count") < 4096)

-- Coroutines and errors.
local fibonacci = coroutine.wrap(function()
  local a, b = 0, 1
  while true do coroutine.yield(a); a, b = b, a + b end
end)
local row = {}
for i = 1, 20 do row[i] = fibonacci() end
print(table.concat(row, " "))
print(select(2, pcall(function() error({ code = 42 }) end)).code)
print(select(2, pcall(error, "plain")))

-- Files.
local name = "/tmp/lua.test"
local file = assert(io.open(name, "w"))
for i = 1, 1000 do file:write(i, "\t", i * i, "\n") end
file:close()
local sum = 0
for line in io.lines(name) do sum = sum + tonumber(line:match("\t(%d+)")) end
file = assert(io.open(name, "rb"))
print(sum, file:seek("end"), file:seek("set", 100), file:read(12))
file:close()
assert(os.rename(name, name .. "2"))
print(io.open(name), os.remove(name .. "2"), os.remove(name .. "2"))
print(("%5.2f|%-6s|%x"):format(math.pi, "left", 255), ("a,b,,c"):gsub(",", ";"))
print(os.time({ year = 2001, month = 2, day = 3, hour = 4 }), os.clock() >= 0, os.getenv("NO_SUCH_VARIABLE"))
for line in io.lines() do io.write(#line, " ", line:reverse(), "\n") end
os.exit(7)
