"""The objects that the routes use, and functions that read a request."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import ip_address
from threading import Lock
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.types import Scope
from uvicorn.middleware.proxy_headers import _TrustedHosts as TrustedProxies  # the middleware needs an ASGI scope

from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.admission.headers import Network, allows, client_network
from tutumd.application.admission.identity import AllowedIssuers
from tutumd.application.calls import AdmissionCache, StatusTokens
from tutumd.application.handlers import FieldContext
from tutumd.application.notification_targets import TargetRules, TargetTest
from tutumd.application.refused_calls import RefusedCalls
from tutumd.errors import NOT_FOUND, NotFoundError, UnavailableError
from tutumd.metrics import CallMetrics
from tutumd.model import Origin, User
from tutumd.ports import Clock, Intake, Store
from tutumd.web.call.batches import Batches, HeavyWork
from tutumd.web.call.issuer_keys import KeyCache
from tutumd.web.call.long_poll import LongPoll
from tutumd.web.followers import Followers
from tutumd.web.pace import Pace
from tutumd.web.scrapes import Scrapes
from tutumd.web.sign_ins import SignIns
from tutumd.web.unfinished import UnfinishedRequests

MAX_QUESTIONS = 8
"""Maximum number of requests that wait for an engine: each takes a thread, and the API has 40."""
MAX_HOPS = 20  # addresses of X-Forwarded-For that count, starting with the nearest

Answer = TypeVar("Answer")

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_IPV4_MAPPED = re.compile(r"(?<![0-9a-f:])::ffff:(?=[0-9]+\.)", re.IGNORECASE)


class WebContext:
    """The objects that the routes use. An instance serves one event loop.

    Attributes:
        is_stopping: Whether the server ends soon, so that proxies should send no more requests.
    """

    is_stopping = False

    def __init__(
        self,
        *,
        store: Store,
        intake: Intake,
        clock: Clock,
        server_cap: int,
        cipher: SecretCipher,
        trusted_proxies: Iterable[str] = (),
        public_url: str = "",
        worker_state: Callable[[], str] | None = None,
        notifier_state: Callable[[], str] = lambda: "ok",
        notification_delay_s: Callable[[], float] = lambda: 0.0,
        scrapes: Scrapes | None = None,
        logs_requests: bool = False,
        has_dashboard: bool = False,
        dashboard_networks: Iterable[Network] = (),
        user_header: str = "",
        notify_networks: Iterable[Network] = (),
        allowed_issuers: AllowedIssuers | None = None,
    ) -> None:
        """Create the instance with the objects from `main`.

        Args:
            server_cap: Maximum number of containers of a service.
            trusted_proxies: Networks whose X-Forwarded-For counts.
            public_url: Prefix of the URLs that the server hands out; empty if unknown. A proxy may keep its path.
            worker_state: Returns whether the worker of this server works; None if the server has no worker.
            notifier_state: Returns whether the notifier of this server works; `ok` if the server has none.
            notification_delay_s: Returns `Figures.notification_delay_s`. Raises UnavailableError.
            scrapes: None: the metrics are disabled.
            logs_requests: Whether there is an access log.
            has_dashboard: Whether there are pages.
            dashboard_networks: Networks whose clients may see the pages; empty: all.
            user_header: Header in which trusted proxies name the user; empty: none.
            notify_networks: Networks of `--notify-allow`.
            allowed_issuers: Issuers whose identity tokens handlers may accept; None: none.
        """
        self.worker_state: Callable[[], str | None] = worker_state or (lambda: None)
        self.notifier_state, self.notification_delay_s = notifier_state, notification_delay_s
        self.store = store
        self.clock = clock
        self.server_cap = server_cap
        self.cipher = cipher
        self.intake = intake
        self.scrapes = scrapes
        self.logs_requests = logs_requests
        self.has_dashboard, self.dashboard_networks = has_dashboard, tuple(dashboard_networks)
        self.user_header, self.notify_networks = user_header, tuple(notify_networks)
        self.allowed_issuers: AllowedIssuers = allowed_issuers or {}
        self.issuer_keys = KeyCache(store, clock, self.allowed_issuers)
        self.call_metrics = CallMetrics()
        self.batches = Batches(intake, self.call_metrics.count_batch)
        self.long_poll = LongPoll(store)
        self.pace, self.heavy_work = Pace(), HeavyWork()
        self.followers = Followers()
        self._questions, self._questions_lock = Counter[str](), Lock()
        self.sign_ins = SignIns(store)
        self.public_url = public_url
        scheme, self.public_host, self.public_path = urlsplit(public_url)[:3]
        self.public_origin = f"{scheme}://{self.public_host}" if public_url else ""
        self.unfinished = UnfinishedRequests(self.read_client)
        self.admission_cache = AdmissionCache(cipher)
        self.refused_calls = RefusedCalls()
        self.status_tokens = StatusTokens(cipher.derive("status"))
        self.trusted_proxies = TrustedProxies(list(trusted_proxies))

    def read_origin(self, scope: Scope) -> Origin:
        """Return the sender of a request: the nearest address that is not a trusted proxy, and the user agent."""
        address = (scope.get("client") or ("",))[0]
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if address in self.trusted_proxies:
            forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
            nearest = ",".join(forwarded.strip(", ").rsplit(",", MAX_HOPS)[-MAX_HOPS:])
            # A proxy with one socket for IPv4 and IPv6 writes the address of an IPv4 client as `::ffff:192.0.2.1`.
            claimed, _ = self.trusted_proxies.get_trusted_client_address(_IPV4_MAPPED.sub("", nearest))
            try:
                address = str(ip_address(claimed))
            except ValueError:
                pass  # no header, or not an address: the proxy itself
        agents = [value.decode("latin-1") for name, value in headers if name == b"user-agent"]
        return Origin(address=address, user_agent=agents[-1] if agents else "")

    def read_client(self, scope: Scope) -> str:
        """Return the network of a request's client, for limits per client."""
        return client_network(self.read_origin(scope).address)

    def knows_client(self, scope: Scope) -> bool:
        """Return whether a request's origin is its client: behind an untrusted proxy, all requests have the proxy's
        address.
        """
        is_forwarded = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
        return self.is_of_proxy(scope) or not is_forwarded

    def is_of_proxy(self, scope: Scope) -> bool:
        """Return whether a request comes from a trusted proxy."""
        return (scope.get("client") or ("",))[0] in self.trusted_proxies

    def is_local(self, scope: Scope) -> bool:
        """Return whether a request's client is on this machine: then both ends of the connection have the same
        address.
        """
        return self.knows_client(scope) and self.read_origin(scope).address == (scope.get("server") or ("",))[0]

    def shows_dashboard(self, scope: Scope) -> bool:
        """Return whether the sender of a request may know that there is a dashboard."""
        if not self.has_dashboard or not self.dashboard_networks:
            return self.has_dashboard
        return self.knows_client(scope) and allows(self.dashboard_networks, self.read_origin(scope).address)

    @property
    def handler_fields(self) -> FieldContext:
        """The context in which the fields of handlers are checked."""
        return FieldContext(cipher=self.cipher, now=self.clock(), issuers=self.allowed_issuers)

    def target_rules(self, viewer: User) -> TargetRules:
        """Return the rules for changes to a viewer's notification targets."""
        return TargetRules(self.store, viewer, self.cipher, self.notify_networks)

    def test_target(self, viewer: User, uuid: str) -> TargetTest:
        """Return the result of a test of a notification target. It takes a place of `ask_engine`."""
        return self.ask_engine(viewer, partial(self.target_rules(viewer).test, uuid))

    def ask_engine(self, viewer: User, ask: Callable[[], Answer]) -> Answer:
        """Return the result of `ask`, which waits for a worker.

        A user never takes more places than remain for others: alone half of them, then half of the rest, and so on.

        Raises:
            UnavailableError: Too many requests wait already, in all or from this user.
        """
        with self._questions_lock:
            if self._questions[viewer.uuid] >= MAX_QUESTIONS - self._questions.total():
                raise UnavailableError("too many requests are waiting for logs, plans, images or tests; try again")
            self._questions[viewer.uuid] += 1
        try:
            return ask()
        finally:
            with self._questions_lock:
                self._questions[viewer.uuid] -= 1
                self._questions += Counter()  # drops users without waiting requests


def context(request: Request) -> WebContext:
    """Return the objects that the routes use."""
    value: WebContext = request.app.state.context
    return value


async def _find_context(request: Request) -> WebContext:
    return context(request)  # FastAPI would run a function that is not a coroutine in a thread


Web = Annotated[WebContext, Depends(_find_context)]
"""Parameter of routes: the objects that they use."""


def parse_uuid(text: str) -> str:
    """Return a UUID in lower case. Raises NotFoundError for any other text, because it names no object."""
    uuid = text.lower()
    if not UUID.fullmatch(uuid):
        raise NotFoundError(NOT_FOUND)
    return uuid


IS_UUID = AfterValidator(parse_uuid)
"""Marks a parameter of a route as a UUID."""
