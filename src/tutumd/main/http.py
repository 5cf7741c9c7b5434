"""The HTTP server on the listening socket. It is slow to import, so it is loaded while the worker starts."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version

import uvicorn

from tutumd.main.startup import BACKLOG
from tutumd.web.app import create_app
from tutumd.web.call.fast_path import FastProtocol
from tutumd.web.context import WebContext


class Server(uvicorn.Server):
    """A uvicorn server that reports when it is ready and when it ends, and serves the last connections."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], before_stop: Callable[[], Awaitable[None]]
    ) -> None:
        """Create the server; `on_ready` is called when connections are accepted, `before_stop` when the server begins
        to stop.
        """
        super().__init__(config)
        self._on_ready, self._before_stop = on_ready, before_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        # A garbage collection that scans all loaded modules delays calls. Without this, calls per second fell to 0.89
        # of their number and p99 rose to 2.8 times (median of ten alternating rounds, 256 connections).
        gc.collect()
        gc.freeze()
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop. Connections that the kernel has accepted in the meantime are served, not reset."""
        await self._before_stop()
        listeners = [listener.dup() for listener in sockets or []]
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await asyncio.sleep(0.01)  # the event loop closes its own copies in its next iterations
        connections = []
        for listener in listeners:
            listener.setblocking(False)
            with listener, contextlib.suppress(BlockingIOError):
                while True:
                    connections.append(listener.accept()[0])
        make_protocol = partial(FastProtocol, config=self.config, server_state=self.server_state, app_state={})
        for connection in connections:
            await asyncio.get_running_loop().connect_accepted_socket(make_protocol, connection)
        await super().shutdown([])


def serve(
    context: WebContext,
    listener: socket.socket,
    *,
    grace_s: float,
    stop_delay_s: float,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        grace_s: Maximum time for open requests to end.
        stop_delay_s: Time to continue after the signal, so that proxies that poll /readyz learn about the end first.
        on_ready: Called when connections are accepted.
        on_stop: Called in the event loop afterwards, before the last requests are served.
    """

    async def go_on() -> None:
        context.is_stopping = True
        await asyncio.sleep(stop_delay_s)
        on_stop()

    config = uvicorn.Config(
        create_app(context, version("tutumd")),
        http=FastProtocol,
        ws="none",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, int(grace_s)),
        backlog=BACKLOG,
    )
    # uvicorn raises the signal again after it has stopped, which must not end the process before the worker's cleanup.
    # This is a function and not SIG_IGN, which the processes of local services would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    Server(config, on_ready, go_on).run(sockets=[listener])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
