"""The HTTP server on the listening socket. Slow to import, so done while the worker already works."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable
from importlib.metadata import version

import structlog
import uvicorn

from tutumd.main.listening import BACKLOG
from tutumd.settings import Settings
from tutumd.web.app import create_app
from tutumd.web.call.fast_path import FastProtocol
from tutumd.web.context import WebContext

_log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """A uvicorn server that tells when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._tell: list[Callable[[], None]] = []

    def when_started(self, tell: Callable[[], None]) -> None:
        """Call something once connections are accepted."""
        self._tell.append(tell)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        # What was loaded stays: looking through it for garbage again and again would hold up calls for 30 ms and more.
        gc.collect()
        gc.freeze()
        await super().startup(sockets)
        for tell in self._tell:
            tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in good order; connections that the kernel took meanwhile are served too, and not reset."""
        listeners = [listener.dup() for listener in sockets or []]
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await asyncio.sleep(0.01)  # the event loop closes its own copies in its next rounds
        for listener in listeners:
            await self._serve_the_last(listener)
        await super().shutdown([])

    async def _serve_the_last(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        connections = []
        with listener, contextlib.suppress(BlockingIOError):
            while True:
                connections.append(listener.accept()[0])
        loop = asyncio.get_running_loop()
        for connection in connections:
            await loop.connect_accepted_socket(self._make_protocol, connection)

    def _make_protocol(self) -> asyncio.Protocol:
        return FastProtocol(config=self.config, server_state=self.server_state, app_state={})


def make_server(edge: WebContext, settings: Settings, url: str) -> Server:
    """Build the server; `url` is what it tells when it is ready."""
    config = uvicorn.Config(
        create_app(edge, version("tutumd")),
        http=FastProtocol,
        ws="none",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, int(settings.grace)),
        backlog=BACKLOG,
    )
    server = Server(config)
    server.when_started(lambda: _log.info("server is ready", url=url))
    return server


def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until a signal. uvicorn raises it once more when it is done, which must not end us before our work is."""

    def ignore(_number: int, _frame: object) -> None:
        pass

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore)
    server.run(sockets=[listener])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
