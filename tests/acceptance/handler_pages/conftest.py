"""The service, the visitor and the handler of these tests."""

import pytest

from tests.acceptance.handler_pages.made import Made
from tests.support.server import LiveServer


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service("handler-pages")


@pytest.fixture
def made(live_server: LiveServer, service: str) -> Made:
    return Made(live_server, service, name="made")
