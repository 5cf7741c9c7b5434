-- Calls handler URLs in turn. Arguments: a file with one path a line, to which a tab and a header "Name: value" may
-- belong, the body, then the ports, one for each thread.

local headers = { ["Content-Type"] = "application/json", ["User-Agent"] = "bench" }
local threads = 0
local ports = {}

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(arguments)
    local body, requests = arguments[2], {}
    for index = 3, #arguments do
        ports[#ports + 1] = arguments[index]
    end
    for line in io.lines(arguments[1]) do
        local path, header = line:match("^(%S+)\t?(.*)$")
        local name, value = header:match("^(.-): (.*)$")
        if name then headers[name] = value end
        requests[#requests + 1] = wrk.format("POST", path, headers, body)
    end
    local port = ports[1 + number]
    if port then
        wrk.thread.addr = wrk.lookup("127.0.0.1", port)[1]
    end
    local next = math.floor(#requests / 2) * number
    request = function()
        next = next % #requests + 1
        return requests[next]
    end
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\nRESULT {"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end
