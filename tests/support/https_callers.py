"""Program: call a URL over TLS from several threads until its standard input ends; print what became of each call.

python -m tests.support.https_callers URL ROOT_CERTIFICATE THREADS
"""

import http.client
import json
import ssl
import sys
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

_PAUSE_S = 0.1
_LIMIT_S = 90


def main(url: str, certificate: str, threads: int) -> None:
    """Call until nobody listens, and print a list of `[status or error, seconds]`."""
    over = threading.Event()
    answers: list[tuple[int | str, float]] = []
    context = ssl.create_default_context(cafile=certificate)
    callers = [threading.Thread(target=_call, args=(url, context, over, answers)) for _ in range(threads)]
    for caller in callers:
        caller.start()
    sys.stdin.read()
    over.set()
    for caller in callers:
        caller.join()
    print(json.dumps(answers))


def _call(url: str, context: ssl.SSLContext, over: threading.Event, answers: list[tuple[int | str, float]]) -> None:
    parts = urlsplit(url)
    while not over.wait(_PAUSE_S):
        began = time.monotonic()
        answer: int | str
        with closing(http.client.HTTPSConnection(parts.netloc, context=context, timeout=_LIMIT_S)) as connection:
            try:
                connection.request("POST", parts.path, b'{"body": "which Caddy reads"}')
                response = connection.getresponse()
                response.read()
                answer = response.status
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
        answers.append((answer, time.monotonic() - began))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
