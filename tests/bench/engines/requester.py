"""Program that sends requests to `http://TARGET:PORT/`, one after the other, and prints what became of them as JSON.

It runs in a container's network namespace. It looks a name up before each request, at the engine's own DNS server. It
ends once its input has ended and it has sent at least MINIMUM requests. Usage: `TARGET PORT MINIMUM`.
"""

import http.client
import json
import select
import sys
import time
from contextlib import closing

from tests.support.poll_program import addresses

_PAUSE_S = 0.001
_TIMEOUT_S = 5


def get(target: str, port: int) -> None:
    """Get the page. Raises OSError or HTTPException."""
    address = target if target[-1].isdigit() else addresses(target)[0]
    with closing(http.client.HTTPConnection(address, port, timeout=_TIMEOUT_S)) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise OSError(f"status {response.status}")


def main(target: str, port: str, minimum: str) -> None:
    """Send requests until the input ends."""
    sent = failed = 0
    gap_s, last = 0.0, time.monotonic()
    print("asking", flush=True)
    is_over = False
    while not is_over or sent < int(minimum):
        sent += 1
        try:
            get(target, int(port))
        except (OSError, http.client.HTTPException, IndexError):
            failed += 1
        else:
            gap_s, last = max(gap_s, time.monotonic() - last), time.monotonic()
        time.sleep(_PAUSE_S)
        is_over = is_over or bool(select.select([sys.stdin], [], [], 0)[0])
    print(json.dumps({"sent": sent, "failed": failed, "gap_s": max(gap_s, time.monotonic() - last)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
