"""Services, containers, actions and how they are listed."""

from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone

import httpx2
import pytest

import tutum
from tests.unit.sdk.fake_api import ACTION, OTHER_WEB, WEB, FakeApi, service


def test_list_follows_all_pages(api: FakeApi) -> None:
    api.page_size = 2
    api.services = [service(f"{index:08}-0000-4000-8000-000000000000", f"s{index}") for index in range(5)]
    assert [listed.name for listed in tutum.Service.list(state="Running")] == ["s0", "s1", "s2", "s3", "s4"]
    assert [request.url.params.get("offset") for request in api.requests] == [None, "2", "4"]
    assert all(request.url.params["state"] == "Running" for request in api.requests)


def test_the_next_page_is_requested_from_the_same_server(api: FakeApi) -> None:
    page = {"meta": {"next": "http://evil.test/api/v1/service/?offset=2"}, "objects": []}
    api.script([httpx2.Response(200, json=page)])
    tutum.Service.list()
    assert str(api.requests[-1].url) == "http://tutum.test/api/v1/service/?offset=2"


def test_pages_that_do_not_end_are_an_error(api: FakeApi) -> None:
    pages = [{"objects": [], "meta": {"next": f"/api/v1/service/?offset={number}"}} for number in (1, 2, 1)]
    api.script(httpx2.Response(200, json=page) for page in pages)
    with pytest.raises(tutum.TutumApiError, match="does not end"):
        tutum.Service.list()


def test_objects_and_outcomes_can_be_members_of_a_set(api: FakeApi) -> None:
    first, second = tutum.Action(uuid="1"), tutum.Action(uuid="2")
    assert len({first, second, first}) == 2
    assert first != second
    outcome = tutum.Outcome(state="Success")
    assert {outcome, tutum.Outcome(state="Success")} == {outcome}
    with pytest.raises(FrozenInstanceError):
        outcome.state = "Failed"  # type: ignore[misc]


def test_iterate_asks_for_a_page_when_it_is_needed(api: FakeApi) -> None:
    api.page_size = 1
    api.services.append(service(OTHER_WEB, "other"))
    assert next(tutum.Service.iterate()).name == "web"
    assert len(api.requests) == 1


def test_save_sends_only_what_was_changed(api: FakeApi) -> None:
    web = tutum.Service.fetch(WEB)
    web.target_num_containers = 5
    web.name = "web"
    assert web.is_dirty
    assert web.save()
    assert web.save()
    assert len(api.requests) == 2
    assert api.sent()[-1] == f"PATCH /service/{WEB}/"
    assert api.body() == {"target_num_containers": 5}
    assert not web.is_dirty


def test_save_of_a_new_service_creates_it(api: FakeApi) -> None:
    new = tutum.Service.create(name="hello", image="demo", run_command="sleep 1", target_num_containers=2)
    assert new.save()
    assert api.sent() == ["POST /service/"]
    assert api.body() == {"name": "hello", "image": "demo", "run_command": "sleep 1", "target_num_containers": 2}
    assert new.uuid == OTHER_WEB
    tutum.Service.create(image="demo", target_num_containers=0).save()
    assert api.body() == {"image": "demo", "target_num_containers": 0}, "what equals our defaults is sent, too"


def test_scale_waits_for_the_action_that_the_new_target_began(api: FakeApi) -> None:
    web = tutum.Service.fetch(WEB)
    begun = {"X-Tutum-Action-URI": "/api/v1/action/begun/"}
    api.script([httpx2.Response(200, json=service(WEB, "web", target_num_containers=4), headers=begun)])
    assert web.scale(4).action_uuid == "begun"
    assert api.sent()[1:] == [f"PATCH /service/{WEB}/"]
    assert web.target_num_containers == 4


def test_operations_keep_unsaved_changes(api: FakeApi) -> None:
    web = tutum.Service.fetch(WEB)
    web.run_command = "sleep 9"
    web.redeploy()
    assert web.run_command == "sleep 9"
    assert web.is_dirty


def test_operations_need_a_saved_service(api: FakeApi) -> None:
    with pytest.raises(tutum.TutumApiError, match="save the object first"):
        tutum.Service.create(name="x").redeploy()


def test_a_field_named_like_a_method_does_not_hide_it(api: FakeApi) -> None:
    api.services[0].update(start="x", logs="y", save=1, extra="kept")
    web = tutum.Service.fetch(WEB)
    assert web.start()
    assert web.logs == "one\ntwo\n"
    assert web.get_all_attributes()["extra"] == "kept"


def test_refresh_leaves_unsaved_changes_alone(api: FakeApi) -> None:
    web = tutum.Service.fetch(WEB)
    web.name = "mine"
    assert not web.refresh()
    assert web.refresh(force=True)
    assert web.name == "web"


def test_a_response_without_uuid_is_an_error(api: FakeApi) -> None:
    api.script([httpx2.Response(200, json={"hello": 1})])
    with pytest.raises(tutum.TutumApiError, match="did not respond with a service"):
        tutum.Service.fetch(WEB)


def test_wait_gives_up_after_its_time(api: FakeApi) -> None:
    api.states = ["In progress"]
    with pytest.raises(tutum.ActionTimeoutError, match="In progress after 5 s") as raised:
        tutum.Action.fetch(ACTION).wait(5)
    assert isinstance(raised.value, TimeoutError)
    assert isinstance(raised.value, tutum.TutumApiError)
    assert api.clock.monotonic() == pytest.approx(5)


def test_wait_outlasts_a_server_that_restarts(api: FakeApi) -> None:
    action = tutum.Action.fetch(ACTION)
    api.script([*(httpx2.ConnectError("refused") for _ in range(3)), *(httpx2.Response(503) for _ in range(3))])
    assert action.wait(60).succeeded


def test_wait_does_not_outlast_a_refusal(api: FakeApi) -> None:
    action = tutum.Action.fetch(ACTION)
    api.script([httpx2.Response(401)])
    with pytest.raises(tutum.TutumAuthError):
        action.wait(60)


def test_a_followed_log_continues_over_a_lost_connection(api: FakeApi) -> None:
    pages = [httpx2.Response(200, json={"logs": text, "next": f"x.{text}"}) for text in ("one", "", "two")]
    gone = httpx2.Response(404, json={"error": "no such object"})
    lost = httpx2.ConnectError("refused")
    api.script([*pages[:2], lost, lost, pages[2], gone])
    failures: list[tutum.TutumApiError] = []
    watched = tutum.Service(client=api.client(retries=0), uuid=WEB)
    following = watched.follow_logs(5, on_failure=failures.append)
    assert [next(following), next(following)] == ["one", "two"]
    with pytest.raises(tutum.ObjectNotFound):
        next(following)
    queries = [dict(request.url.params) for request in api.requests]
    assert queries == [{"tail": "5"}, {"after": "x.one"}, *[{"after": "x."}] * 3, {"after": "x.two"}]
    assert len(failures) == 1
    api.script(
        [pages[0], httpx2.Response(429, json={"error": "you follow 8 logs already"}, headers={"Retry-After": "60"})]
    )
    following = watched.follow_logs()
    assert next(following) == "one"
    with pytest.raises(tutum.TutumApiError, match="you follow 8 logs already"):
        next(following)
    assert all(2 <= pause_s <= 5 for pause_s in api.clock.slept)


def test_a_hold_ends_at_a_date_of_any_zone(api: FakeApi) -> None:
    web = tutum.Service.fetch(WEB)
    api.script([httpx2.Response(200, json=service(WEB, "web", is_held=True, held_by="bob"))])
    assert web.hold(datetime(2026, 12, 1, 19, tzinfo=timezone(timedelta(hours=1))), "incident 42")
    assert api.body() == {"until": "2026-12-01T18:00:00+00:00", "reason": "incident 42"}
    assert (web.is_held, web.held_by) == (True, "bob")


def test_images_are_fetched_with_all_pages(api: FakeApi) -> None:
    web = tutum.Service.fetch(WEB)
    following = f"/api/v1/service/{WEB}/image/?limit=1&offset=1"
    pages = [
        {"objects": [{"number": number, "previous": 1, "later": "ignored"}], "meta": {"next": next_page}}
        for number, next_page in ((2, following), (1, None))
    ]
    api.script(httpx2.Response(200, json=page) for page in pages)
    assert [(image.number, image.previous, image.available) for image in web.images()] == [
        (2, 1, "unknown"),
        (1, 1, "unknown"),
    ]
