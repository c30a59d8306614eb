-- POSTs 1 KB bodies, each another one, to the paths of a file in order: wrk ... -s post.lua URL -- FILE SUFFIX
local paths = {}
local suffix = ""
local filler = ""
sent = 0
threads = {}

function setup(thread) table.insert(threads, thread) end

function init(args)
  for line in io.lines(args[1]) do paths[#paths + 1] = line end
  suffix = args[2] or ""
  wrk.headers["Content-Type"] = "application/octet-stream"
  math.randomseed(42)
  local bytes = {}
  for i = 1, 1008 do bytes[i] = string.char(math.random(0, 255)) end
  filler = table.concat(bytes)
end

function request()
  local path = paths[sent % #paths + 1]
  local body = string.format("%016d", sent) .. filler
  sent = sent + 1
  return wrk.format("POST", path .. suffix, nil, body)
end

function done(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %d %d %d",
    summary.requests, summary.duration, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(99)))
end
