"""Minimal HTTP server: one route that returns 202 with as much JSON as a call."""

import json
import socket
import sys
from typing import Any

import uvicorn

_ID = "0b5b0f5e-7c1b-4c5e-9d0a-3f3f3a1d2c4b"
_HANDLER = f"/api/v1/service/{_ID}/webhook/handler/{_ID}/"
_ACTION = f"/api/v1/action/{_ID}/"
_BODY = json.dumps(
    {
        "url": f"{_HANDLER}call/",
        "name": None,
        "operation": "REDEPLOY",
        "resource_uri": _HANDLER,
        "uuid": _ID,
        "action": _ACTION,
        "status_url": f"/api/v1/status/{'A' * 51}/",
    },
    separators=(",", ":"),
).encode()
_START = {
    "type": "http.response.start",
    "status": 202,
    "headers": [
        (b"content-length", str(len(_BODY)).encode()),
        (b"content-type", b"application/json"),
        (b"x-tutum-action-uri", _ACTION.encode()),
    ],
}
_END = {"type": "http.response.body", "body": _BODY}


async def respond(_scope: Any, receive: Any, send: Any) -> None:
    """Read the body and respond."""
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send(_END)


def main() -> None:
    """Serve on the port that is the first argument."""
    config = uvicorn.Config(
        respond, http="httptools", ws="none", loop="uvloop", access_log=False, log_config=None, lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048)])


if __name__ == "__main__":
    main()
