"""The audit page: who did what, with which credentials, from where."""

from tests.acceptance.accounts import add_member, give
from tests.support.html_tree import Element
from tests.support.pages import Page, signed_in
from tests.support.server import LiveServer


def rows(page: Page) -> list[Element]:
    return page.find("table")[0].find("tr")[1:]


def test_what_was_done_is_listed_with_its_links(live_server: LiveServer) -> None:
    member = add_member(live_server, "audited")
    uuid = live_server.create_service("audited")["uuid"]
    give(live_server, uuid, member.name)
    made = member.send("POST", f"/api/v1/service/{uuid}/webhook/handler/", {"name": "hook"})
    visitor = signed_in(live_server, member.name, member.key, User_Agent="<img src=x> Firefox/140.0 Linux")
    page = visitor.get("/audit/")
    started, created = rows(page)[:2]
    assert f"{member.name} Session started" in started.text or f"{member.name} session started" in started.text
    assert f"{member.key[:12]} (page) 127.0.0.1, Firefox on Linux" in started.text
    assert "handler created Redeploy 'hook'" in created.text
    assert created.find("span", "Redeploy 'hook'", title="REDEPLOY 'hook'"), "as the API says it"
    assert f"{member.key[:12]} (API)" in created.text
    links = {each.text: each.attributes["href"] for each in created.find("a")}
    number = links["audited"].rpartition("/service/")[2].strip("/")
    assert number == uuid
    assert any(
        text.startswith("handler ") and href.startswith(f"/service/{uuid}/handler/") for text, href in links.items()
    )
    assert made.json["uuid"] not in page.html
    assert not page.find("img", src="x")
    again = signed_in(live_server, member.name, member.key, User_Agent="<img src=x> Firefox/140.0 Linux")
    assert "2 times, last" in rows(again.get("/audit/"))[0].text, "what is repeated is one entry"
