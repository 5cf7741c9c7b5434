"""Program that requests `http://NAME:8080/` until its input ends, and prints the results as JSON.

It runs in a container's network namespace and needs only the standard library. It sends DNS queries to the engine's own
server there, because it sees the files of the machine. Usage: `poll_program.py NAME RETRIES`. A failed request is
repeated up to RETRIES times, to another address if there is one, as a proxy does.
"""

import json
import random
import select
import socket
import struct
import sys
import time

PAUSE_S = 0.004
TIMEOUT_S = 30
_DNS = ("127.0.0.11", 53)


def addresses(name: str) -> list[str]:
    """Resolve a name (RFC 1035) without any cache."""
    question = struct.pack(">HHHHHH", random.randrange(65536), 0x0100, 1, 0, 0, 0)
    question += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(TIMEOUT_S)
        asked.sendto(question, _DNS)
        answer = asked.recv(512)
    at, found = len(question), []
    for _ in range(struct.unpack(">H", answer[6:8])[0]):
        while answer[at] and answer[at] < 0xC0:  # a name, label by label; two bytes from 0xC0 on refer to one
            at += 1 + answer[at]
        at += 2 if answer[at] else 1
        length = struct.unpack(">H", answer[at + 8 : at + 10])[0]
        found.append(socket.inet_ntoa(answer[at + 10 : at + 10 + length]))
        at += 10 + length
    return found


def ask(name: str, tried: set[str]) -> str:
    """Get the page from an address that was not tried yet, if there is one, and add it to `tried`. Raises OSError."""
    known = addresses(name)
    if not known:
        raise OSError(f"{name} has no address")
    address = random.choice([each for each in known if each not in tried] or known)
    tried.add(address)
    with socket.create_connection((address, 8080), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    head, _, body = answer.decode().partition("\r\n\r\n")
    if " 200 " not in head.partition("\r\n")[0]:
        raise OSError(f"answered {head[:40]!r}")
    return body.strip()


def ask_again(name: str, retries: int) -> str:
    """Get the page, with up to `retries` retries."""
    tried: set[str] = set()
    while True:
        try:
            return ask(name, tried)
        except OSError:
            if not retries:
                raise
        retries -= 1
        time.sleep(PAUSE_S)


def main() -> None:
    """Send requests until the input ends."""
    name, retries = sys.argv[1], int(sys.argv[2])
    requests, slowest_s = 0, 0.0
    failures: list[str] = []
    versions: list[str] = []
    print("asking", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        requests += 1
        began = time.monotonic()
        try:
            version = ask_again(name, retries)
        except OSError as error:
            failures.append(str(error))
        else:
            if version not in versions:
                versions.append(version)
        slowest_s = max(slowest_s, time.monotonic() - began)
    print(json.dumps({"requests": requests, "failures": failures, "versions": versions, "slowest_s": slowest_s}))


if __name__ == "__main__":
    main()
