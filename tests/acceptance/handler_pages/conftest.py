"""The service, the visitor and the handler of these tests."""

import pytest

from tests.acceptance.handler_pages.made import Made
from tests.support.pages import Visitor
from tests.support.server import APIKEY, USER, LiveServer


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service("handler-pages")


@pytest.fixture
def visitor(live_server: LiveServer) -> Visitor:
    visitor = Visitor(live_server.url)
    visitor.sign_in(USER, APIKEY)
    return visitor


@pytest.fixture
def made(live_server: LiveServer, service: str) -> Made:
    return Made(live_server, service, name="made")
