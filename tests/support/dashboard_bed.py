"""The HTTP edge on a store bed: a server in a thread, whose engines are what a test says.

It starts in a few milliseconds, where a `LiveServer` takes seconds. Nothing carries out its actions.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from jinja2 import ChoiceLoader, DictLoader, Environment, PackageLoader, StrictUndefined

from tests.support.api import APIKEY, USER, Api
from tests.support.html_tree import Element
from tests.support.pages import Page, Visitor
from tests.support.stores import MovedClock, StoreBed, open_store
from tests.support.waiting import wait_until
from tutumd.application import accounts
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.digests import sha256_hex
from tutumd.model import EngineInfo, EngineRequest, NewKey, Scope
from tutumd.ports.accounts import Accounts
from tutumd.web.app import create_app
from tutumd.web.call.fast_path import FastProtocol
from tutumd.web.context import WebContext
from tutumd.web.pages.rendering import FILTERS

KEY = "key-of-a-visitor-"
ANSWERER = "a worker that answers"
_THREADS = 4


class DashboardBed(Api):
    """A dashboard that visitors can reach. No worker runs: `answer` is one for a moment."""

    def __init__(self, bed: StoreBed, port: int) -> None:
        super().__init__(Path(), port)
        self.bed = bed

    @contextmanager
    def accounts(self) -> Iterator[Accounts]:
        yield self.bed.store

    def visit(self, user: str = "root", *, is_admin: bool = True, **limits: Any) -> Visitor:
        """Add a user with a key, and sign them in."""
        key = f"{KEY}{user}"
        accounts.add_user(self.bed.store, user, is_admin=is_admin)
        self.bed.store.add_key(user, NewKey(key_sha256=sha256_hex(key), hint="key", **limits))
        visitor = Visitor(self.url)
        visitor.sign_in(user, key)
        return visitor

    def visit_with_scope(self, scope: Scope) -> Visitor:
        """Sign in an admin whose key has a scope."""
        return self.visit(f"with-{scope.value}", scope=scope)

    @contextmanager
    def answering(
        self, response: Mapping[str, object], engines: Sequence[str] = ("docker",)
    ) -> Iterator[list[EngineRequest]]:
        """Respond to the first question to an engine, as a worker would, and yield a list that gets the question."""
        asked: list[EngineRequest] = []

        def respond() -> None:
            asked.extend(wait_until(lambda: self.bed.queue.take_requests(engines), "the page asks the engine"))
            self.bed.queue.save_response(asked[0].uuid, response)

        thread = threading.Thread(target=respond, name=ANSWERER)
        thread.start()
        try:
            yield asked
        finally:
            thread.join()


@contextmanager
def serve_dashboard(bed: StoreBed, **settings: Any) -> Iterator[DashboardBed]:
    """Serve the dashboard of a store. `settings` are those of `WebContext`."""
    fixed: dict[str, Any] = {
        "store": bed.store,
        "intake": bed.intake,
        "clock": bed.clock,
        "server_cap": 10,
        "has_dashboard": True,
    }
    context = WebContext(**(fixed | {"cipher": SecretCipher([make_key()])} | settings))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(context, "0"), http=FastProtocol, log_config=None, lifespan="off", proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(_run(server, listener),))
    thread.start()
    try:
        wait_until(lambda: server.started, "the dashboard listens")
        yield DashboardBed(bed, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        for each in threading.enumerate():  # What is canceled at the end goes on in its thread, with a connection.
            if isinstance(loop := getattr(each, "loop", None), asyncio.AbstractEventLoop) and loop.is_closed():
                each.join()
        listener.close()


async def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve. All threads for blocking calls start now: a test would seem to leave those that start in it."""
    executor, all_run = ThreadPoolExecutor(_THREADS), threading.Barrier(_THREADS + 1)
    for _ in range(_THREADS):
        executor.submit(all_run.wait)
    all_run.wait()
    asyncio.get_running_loop().set_default_executor(executor)
    await server.serve(sockets=[listener])


@contextmanager
def serve_edge(url: str, **settings: Any) -> Iterator[DashboardBed]:
    """Serve API and dashboard of the store at a URL, with the examples' user and the engine `local`, at this moment."""
    with open_store(url, MovedClock(datetime.now(UTC))) as bed, serve_dashboard(bed, **settings) as edge:
        bed.queue.register("local worker", [EngineInfo(name="local", kind="local", can_create=True)])
        if USER not in (user.name for user in bed.store.users()):
            accounts.add_user(bed.store, USER, is_admin=True, key=APIKEY)
        yield edge


def template_environment(templates: Mapping[str, str] | None = None) -> Environment:
    """Return the templates of the dashboard with further ones, as pages render them."""
    environment = Environment(
        loader=ChoiceLoader([DictLoader(dict(templates or {})), PackageLoader("tutumd.web.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


def find_card(page: Page, title: str) -> Element:
    """Return the card of a page that has a title."""
    (heading,) = page.find("h2", title)
    card = heading.ancestor("section")
    assert card is not None, f"{title} is the title of no card"
    return card
