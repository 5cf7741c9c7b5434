"""The URL of a handler, and whether it is found: show, disable, rotate, revoke."""

import pytest

from tests.acceptance.handler_pages.made import Made, said
from tests.support.pages import Visitor


def test_the_url_is_shown_with_the_lines_that_call_it(made: Made, visitor: Visitor) -> None:
    page = visitor.get(made.path).submit("Show the URL")
    url = made.server.url + made.handler["url"]
    assert page.find("input", aria_label="Copy the URL")[0].attributes["value"] == url
    assert f"curl -sS --fail-with-body -X POST '{url}?wait=300'" in page.text
    assert visitor.get(f"{made.path}url/").path == made.path


@pytest.mark.parametrize("grace", ["0", "1d"])
def test_a_rotated_handler_takes_calls_of_the_old_url_for_the_chosen_time(
    made: Made, visitor: Visitor, grace: str
) -> None:
    page = visitor.get(made.path).submit("Make a new URL", grace=grace)
    assert "The handler has a new URL." in said(page)
    assert ("Nobody has called it since." in page.text) == (grace != "0")
    assert made.call() == (404 if grace == "0" else 202)
    page = visitor.get(made.path)
    assert ("that sender still needs the new URL" in page.text) == (grace != "0")
    url = page.submit("Show the URL").find("input", aria_label="Copy the URL")[0].attributes["value"]
    assert made.handler["uuid"] not in url
    assert made.server.post(url.removeprefix(made.server.url)).status == 202


def test_a_grace_that_the_page_does_not_offer_is_refused(made: Made, visitor: Visitor) -> None:
    assert visitor.get(made.path).submit("Make a new URL", grace="99d").status == 400
    assert made.now["rotation"] is None


def test_each_button_names_the_command_that_does_the_same(made: Made, visitor: Visitor) -> None:
    made.server.request("PATCH", made.handler["resource_uri"], {"name": "o'dd $x"})
    page = visitor.get(made.path)
    word = """handler-pages 'o'"'"'dd $x'"""
    for command in ("show {} --url", "set {} --disable", "rotate {} --grace 1d", "rm {}"):
        assert f"tutum webhook-handler {command.format(word)}" in page.text
    made.server.make_handler(made.service, name="o'dd $x")
    told = "tutum webhook-handler rm handler-pages HANDLER # its UUID is in: tutum webhook-handler list handler-pages"
    assert told in visitor.get(made.path).text
