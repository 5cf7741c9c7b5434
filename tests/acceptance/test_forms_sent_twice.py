"""Forms that are sent twice: by two presses without scripts, or by a browser that loads the response again."""

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.support.api import APIKEY, USER, Api
from tests.support.dashboard_bed import serve_edge
from tests.support.pages import Page, Visitor, signed_in
from tests.support.postgres_bed import PostgresBed

ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice:
    """Somebody signed in at two replicas, or twice at the only one."""

    server: Api
    visitors: tuple[Visitor, Visitor]
    service: str

    def get(self, path: str) -> Page:
        return self.visitors[0].get(path)

    def send(self, page: Page, button: str, **values: str) -> list[Page]:
        """Press a button of a page twice at once, and return both responses at the end of redirects."""
        form = page.form(button, within=None, **values)
        with ThreadPoolExecutor(2) as pool:
            sent = [pool.submit(visitor.post, form.address, dict(form.fields)) for visitor in self.visitors]
            return [each.result() for each in sent]

    def handlers(self, name: str) -> int:
        """Return how many handlers have a name."""
        found = self.server.objects(f"/api/v1/service/{self.service}/webhook/handler/")
        return sum(each["name"] == name for each in found)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def twice(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            first = second = stack.enter_context(
                serve_edge(f"sqlite:///{tmp_path_factory.mktemp('twice') / 'test.db'}")
            )
        else:
            bed: PostgresBed = request.getfixturevalue("postgres_bed")
            database = bed.new_database()
            first, second = (stack.enter_context(serve_edge(database)) for _ in range(2))
        visitors = Visitor(first.url), Visitor(second.url)
        visitors[0].sign_in(USER, APIKEY)
        visitors[1].cookies = visitors[0].cookies
        yield Twice(server=first, visitors=visitors, service=str(first.create_service("twice")["uuid"]))


@pytest.mark.slow
def test_a_sender_that_is_connected_twice_at_once_has_one_handler(twice: Twice) -> None:
    for _ in range(ROUNDS):
        name = f"connected-{uuid.uuid4()}"
        page = twice.get(f"/service/{twice.service}/connect/?sender=github")
        shown = twice.send(page, "Create the URL", name=name)
        assert [each.status for each in shown] == [200, 200]
        urls = [re.findall(r"/webhook/handler/([0-9a-f-]{36})/call/", each.html) for each in shown]
        assert urls[0][0] == urls[1][0]
        assert sum("The secret was shown when it was made." in each.text for each in shown) == 1
        assert twice.handlers(name) == 1


@pytest.mark.slow
def test_a_group_that_is_made_and_rotated_twice_at_once_is_one_with_one_new_url(twice: Twice) -> None:
    page = twice.get("/groups/new/")
    made = twice.send(page, "Create the group", name="all", services="twice")
    assert [each.status for each in made] == [200, 200] and made[0].path == made[1].path
    rotated = twice.send(made[0], "Make a new URL", grace="1d")
    assert ["The group has a new URL." in each.text for each in rotated] == [True, True]
    [group] = twice.server.objects("/api/v1/webhook/group/")
    assert group["url"] == rotated[0].submit("Show the URL").copies["Copy the URL"].removeprefix(twice.server.url)


@pytest.mark.slow
def test_a_handler_that_is_rotated_twice_at_once_keeps_its_old_url_for_the_grace(twice: Twice) -> None:
    skips = {"preset": "branch", "branch": ["other"]}
    made = twice.server.make_handler(twice.service, name=f"rotated-{uuid.uuid4()}", filter=skips)
    url = str(made["url"]).removeprefix(twice.server.url)
    page = twice.get(f"/service/{twice.service}/").follow(str(made["name"]))
    for shown in twice.send(page, "Make a new URL", grace="1d"):
        assert (shown.status, "The handler has a new URL." in shown.text) == (200, True)
    assert twice.server.post(url, b'{"ref": "refs/heads/main"}').status == 200


def test_a_delivery_that_is_sent_again_twice_at_once_is_carried_out_once_more(twice: Twice) -> None:
    # A call whose action failed is carried out when it is repeated: this one waits until all have come.
    made = twice.server.make_handler(twice.service, name=f"again-{uuid.uuid4()}", debounce=300)
    assert twice.server.post(str(made["url"]).removeprefix(twice.server.url)).status == 202
    log = f"{made['resource_uri']}delivery/"
    (first,) = twice.server.objects(log)
    handler = twice.get(f"/service/{twice.service}/").follow(str(made["name"])).path
    page = twice.get(f"{handler}delivery/{first['id']}/")
    sent = twice.send(page, "Redeliver")
    assert [(each.status, "Repeated" in each.text) for each in sent] == [(200, False)] * 2
    assert sent[0].path == sent[1].path, "both lead to the one that was carried out"
    outcomes = [each["outcome"] for each in twice.server.objects(log)]
    assert (len(outcomes), outcomes.count("repeated")) == (3, 1), outcomes
    twice.get(page.path).submit("Redeliver")
    outcomes = [each["outcome"] for each in twice.server.objects(log)]
    assert (len(outcomes), outcomes.count("repeated")) == (4, 1), "a page that is loaded anew has another form"


def test_an_action_that_is_retried_twice_at_once_has_one_new_one(twice: Twice) -> None:
    made = twice.server.make_handler(twice.service, debounce=300)
    path = twice.server.post(str(made["url"]).removeprefix(twice.server.url)).json["action"]
    page = twice.get(path.removeprefix("/api/v1"))
    page.submit("Cancel the action")
    canceled = twice.get(page.path)
    sent = twice.send(canceled, "Retry")
    assert [each.status for each in sent] == [200, 200]
    assert sent[0].path == sent[1].path != canceled.path
    assert twice.get(page.path).submit("Retry").path not in (canceled.path, sent[0].path), "another form"


def test_a_form_whose_fields_are_sent_in_another_session_is_another_one(twice: Twice) -> None:
    name = f"shared-{uuid.uuid4()}"
    path = f"/service/{twice.service}/handler/new/"
    form = twice.get(path).form("Create the handler", name=name)
    first = twice.visitors[0].post(form.address, dict(form.fields))
    other = signed_in(twice.server)
    copied = dict(form.fields) | {"csrf": other.get(path).form("Create the handler").csrf}
    assert first.status == 200
    assert "has the name" in other.post(form.address, copied).text  # it would create a second handler of this name
    assert twice.handlers(name) == 1
