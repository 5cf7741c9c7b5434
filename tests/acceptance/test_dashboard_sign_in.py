"""Signing in to the dashboard, and out."""

from tests.support.pages import Visitor
from tests.support.server import APIKEY, USER, LiveServer


def test_an_api_key_signs_in(live_server: LiveServer) -> None:
    visitor = Visitor(live_server.url)
    assert visitor.get("/").path == "/sign-in/"
    page = visitor.sign_in(USER, APIKEY)
    assert page.path == "/"
    assert page.find("a", USER)


def test_a_wrong_key_does_not_sign_in(live_server: LiveServer) -> None:
    visitor = Visitor(live_server.url)
    page = visitor.get("/sign-in/").submit("Sign in", user=USER, key="wrong")
    assert (page.status, page.alert) == (401, "wrong user or API key")
    assert not visitor.cookies


def test_signing_out_ends_the_session(live_server: LiveServer) -> None:
    visitor = Visitor(live_server.url)
    page = visitor.sign_in(USER, APIKEY)
    stolen = dict(visitor.cookies)
    assert page.submit("Sign out").path == "/sign-in/"
    assert not visitor.cookies
    visitor.cookies = stolen
    assert visitor.get("/").path == "/sign-in/"
