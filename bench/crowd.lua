-- What one thread of wrk asks: it lists and decides in turn, each of its requests once.
-- Arguments: the file with the ids, then "approve" and "reject": one verdict for each thread in turn.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  ids, verdict, turn, lines = {}, args[2 + number % 2], 0, args[1]
  refused, odd = 0, 0
  for id in io.lines(lines) do table.insert(ids, id) end
  listing = wrk.format("GET", "/api/v1/requests?limit=20")
end

function request()
  turn = turn + 1
  if turn % 2 == 1 or #ids == 0 then return listing end
  local id = table.remove(ids)
  return wrk.format(
    "POST",
    "/api/v1/requests/" .. id .. "/decision",
    { ["Content-Type"] = "application/json" },
    '{"verdict":"' .. verdict .. '"}'
  )
end

function response(status, headers, body)
  if status == 409 then refused = refused + 1 elseif status ~= 200 then odd = odd + 1 end
end

function done(summary, latency)
  local total = { refused = 0, odd = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(total) do total[name] = total[name] + thread:get(name) end
  end
  io.write(string.format(
    'result {"requests":%d,"seconds":%.3f,"p50":%.3f,"p99":%.3f,"longest":%.3f,"refused":%d,"odd":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, total.refused, total.odd,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  ))
end
