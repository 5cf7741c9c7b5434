"""A server full of hostile text, and the addresses and forms in which it is shown."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tests.acceptance.accounts import add_limited_key, add_member
from tests.acceptance.page_routes import PageRoute, page_routes
from tests.support.dashboard_bed import DashboardBed
from tests.support.stores import query
from tutumd.model import ContainerSnapshot, ContainerState, Outcome, Query, ServiceSnapshot

MARKUP = (  # all elements of it have the attribute `data-xss`, and all scripts set `window.xss`
    "<script data-xss>window.xss=1</script>",
    "<img data-xss src=x onerror=window.xss=1>",
    '"><svg data-xss onload=window.xss=1>',
    "' data-xss autofocus onfocus='window.xss=1",
    '" data-xss hx-get=/sign-in/ hx-trigger=load x="',
    "</textarea></title></script><b data-xss>",
    "<a data-xss href=javascript:window.xss=1>x</a>",
    "javascript:window.xss=1//",
    "<!--<b data-xss>--><base data-xss href=//evil.example/>",
    "<meta data-xss http-equiv=refresh content=0;url=//evil.example/>",
)
TEMPLATES = ("{{7*191}}", "{%raw%}${7*191}#{7*191}", "&lt;b data-xss&gt;&#60;i data-xss&#62;")
UNICODE = ("\u202etxt.exe\u202c", "z\u200bw\u200dj", "🏴‍☠️👩‍👩‍👧", "İıſK")  # fmt: skip
LONG = "W" * 120
ASCII = " ".join((*MARKUP, *TEMPLATES))
EVERYTHING = " ".join((ASCII, *UNICODE, LONG))
# A user's name has neither space nor colon nor backslash; a glob, a name and a marker are short.
SHORT = "<img/data-xss/src=x/onerror=window.xss=1>\"'{{7*191}}\u202e🏴‍☠️"
USER_NAME = "<img/data-xss/src=x/onerror=window.xss=1>\"'{{7*191}}&lt;b"


PLAN = {
    "refused": "",
    "order": "start-first",
    "order_reason": EVERYTHING,
    "image_name": EVERYTHING,
    "image_before": SHORT,
    "image_after": SHORT,
    "steps": [EVERYTHING],
    "notes": [EVERYTHING],
}
ANSWERS: dict[str, dict[str, object]] = {
    "/redeploy/": {"plan": PLAN},
    "/logs/": {"logs": {"text": f"web-1 | {EVERYTHING}", "position": {}}},
}
SHOWN = {
    "/": [SHORT],
    "/services/": [f"{SHORT}/web-{SHORT}", EVERYTHING],
    "/service/{uuid}/": [f"web-{SHORT}", *MARKUP, EVERYTHING],
    "/service/{uuid}/logs/": [EVERYTHING],
    "/service/{uuid}/redeploy/": [EVERYTHING],
    "/connect/": [f"web-{SHORT}"],
    "/service/{service_uuid}/connect/": [f"web-{SHORT}"],
    "/service/{service_uuid}/handler/{number}/": [f"web-{SHORT}", SHORT],
    "/service/{service_uuid}/handler/{number}/edit/": [SHORT],
    "/service/{service_uuid}/handler/{number}/deliveries/": [SHORT],
    "/service/{service_uuid}/handler/{number}/delivery/{delivery_number}/": [ASCII, EVERYTHING],
    "/action/{uuid}/": [ASCII, EVERYTHING],
    "/groups/": [SHORT],
    "/groups/{number}/": [SHORT],
    "/groups/{number}/edit/": [SHORT],
    "/groups/{number}/delivery/{delivery_number}/": [ASCII, EVERYTHING],
    "/groupcall/{call_number}/": [SHORT, f"web-{SHORT}"],
    "/freeze/": [SHORT],
    "/notifications/": [SHORT],
    "/notifications/target/{target_uuid}/": [SHORT],
    "/notifications/target/{target_uuid}/edit/": [SHORT],
    "/account/": [USER_NAME],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A server full of hostile text, and its objects by the names in paths of pages."""

    edge: DashboardBed
    values: Mapping[str, object]
    quiet: Mapping[str, object]
    """As `values`, of a handler that skipped the call."""
    member_key: str

    def visits(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the address of every page, with the texts that it must show."""
        for route in page_routes():
            # Files are no pages, and a part of one has no page around it.
            if route.method == "GET" and route.path not in ("/static/{name}", "/running/", "/action/{uuid}/log/"):
                yield route.fill(self.values), SHOWN.get(route.path, [])
                if "/handler/{number}" in route.path and "{delivery_number}" not in route.path:
                    yield route.fill(self.quiet), [f"loose {SHORT}"] if route.path in SHOWN else []

    def queries(self) -> Iterator[tuple[str, list[str]]]:
        """Yield addresses that are hostile themselves."""
        for each in (EVERYTHING, *MARKUP):
            text = quote(each, safe="")
            yield f"/services/?search={text}", [each]
            yield f"/services/?state={text}&stack={text}&engine={text}&after={text}", []
            yield f"/connect/?q={text}", []
        text = quote(ASCII, safe="")
        handler = self.address("/service/{service_uuid}/handler/{number}/")
        for path in (
            f"/sign-in/?next={text}",
            f"/service/{self.values['service_uuid']}/connect/?sender={text}",
            f"{handler}?did={text}&outcome={text}",
            f"{handler}deliveries/?outcome={text}&before={text}",
            f"{handler}connect/?sender={text}&after={text}",
            f"{handler}try/?delivery={text}",
            f"/audit/?before={text}",
            f"/service/{text}/",
            f"/action/{text}/",
            f"{handler}{text}/",
            f"/{text}",
        ):
            yield path, []

    def address(self, path: str) -> str:
        return PageRoute(method="GET", path=path).fill(self.values)

    def answering(self, address: str) -> AbstractContextManager[object]:
        """Answer the question that some pages ask an engine."""
        response = next((ANSWERS[part] for part in ANSWERS if address.endswith(part)), None)
        return nullcontext() if response is None else self.edge.answering(response)


def fill(edge: DashboardBed) -> Hostile:
    """Put hostile text wherever the API, the senders, the labels and the containers can put any."""
    member = add_member(edge, USER_NAME)
    edge.bed.sync(labeled())
    service = edge.bed.service_uuid(f"web-{SHORT}")
    plain = edge.make_handler(service, name=SHORT)
    for each in MARKUP:
        edge.make_handler(service, name=each)
    strict = edge.make_handler(
        service,
        name=f"strict {SHORT}",
        filter=[
            f"body.ref != {json.dumps(SHORT, ensure_ascii=False).join('``')}",
            {"preset": "branch", "branch": [SHORT]},
            {"preset": "paths", "paths": [SHORT]},
            {"preset": "skip", "marker": SHORT},
        ],
        tag={"allow": [SHORT, LONG]},
        verify={"preset": "hmac", "header": "X-Sign", "prefix": "<b data-xss>\"'", "secrets": [MARKUP[0]]},
    )
    edge.make_handler(service, name="tagged", filter={"preset": "tag", "tag": [SHORT], "repository": SHORT})
    loose = edge.make_handler(service, name=f"loose {SHORT}", filter={"preset": "branch", "branch": [SHORT]})
    document = {"name": SHORT, "kind": "webhook", "settings": {"url": "https://example.com/"}, "service": service}
    target = edge.request("POST", "/api/v1/notification/target/", document).json
    window = {"from": "Fri 16:00", "to": "Mon 06:00", "reason": SHORT, "service": service}
    frozen = edge.request("POST", "/api/v1/freeze/", window).json
    action, *_ = [call(edge, str(each["url"])) for each in (plain, strict, loose)]
    edge.bed.queue.finish(edge.bed.claimed(), Outcome(success=False, reason=EVERYTHING, log_tail=EVERYTHING), None)
    edge.bed.store.hold(edge.bed.admin, service, until=None, reason=SHORT)
    assert call(edge, str(plain["url"]))
    group = edge.request("POST", "/api/v1/webhook/group/", {"name": SHORT, "services": [service]}).json
    call(edge, str(group["url"]))
    [group_call] = edge.bed.store.group_calls(edge.bed.admin, query()).objects
    of_group = Query.newest(1, group=group_call.group_number)
    add_limited_key(edge, USER_NAME, stack=SHORT)
    handlers = edge.bed.store.handlers(edge.bed.admin, service, query()).objects
    numbers = {each.uuid: each.number for each in handlers}
    values: dict[str, object] = {
        "service_uuid": service,
        "action_uuid": action.split("/")[-2],
        "number": numbers[plain["uuid"]],
        "target_uuid": target["uuid"],
        "freeze_uuid": frozen["uuid"],
        "delivery_number": 1,
        "group_number": group_call.group_number,
        "call_number": group_call.number,
        "group_delivery": edge.bed.store.deliveries(edge.bed.admin, of_group).objects[0].number,
        "token": quote("<b data-xss>'\"", safe=""),
        "name": quote("<b data-xss>'\"", safe=""),
    }
    quiet = values | {"number": numbers[loose["uuid"]]}
    return Hostile(edge=edge, values=values, quiet=quiet, member_key=member.key)


def labeled() -> ServiceSnapshot:
    """Return a service whose names, labels, image and container are hostile."""
    container = ContainerSnapshot(
        id=SHORT, name=EVERYTHING, state=ContainerState.RUNNING, image_name=SHORT, image_digest=SHORT
    )
    return ServiceSnapshot(
        selector=EVERYTHING,
        name=f"web-{SHORT}",
        stack=SHORT,
        owner=USER_NAME,
        target=1,
        containers=(container,),
        image_name=EVERYTHING,
        image_digest=SHORT,
        run_command=EVERYTHING,
        variables=(EVERYTHING,),
        warnings=(EVERYTHING,),
        notes=(EVERYTHING,),
        settings=((SHORT, EVERYTHING),),
    )


def call(edge: DashboardBed, url: str) -> str:
    """Call a handler with hostile text in all parts of the call, and return the path of the action."""
    body = {
        "ref": f"refs/heads/{EVERYTHING}",
        EVERYTHING: [EVERYTHING],
        "nul": "a\0b",
        "head_commit": {"message": SHORT},
    }
    query = urlencode({"x": EVERYTHING, ASCII[:100]: "1"})
    called = edge.post(
        f"{url}?{query}",
        json.dumps(body).encode(),
        User_Agent=ASCII,
        X_Hostile=ASCII,
        X_GitHub_Event="push",
        X_GitHub_Delivery=str(uuid.uuid4()),
        X_Forwarded_For="<b data-xss>",
        Content_Type="application/json",
    )
    assert called.status in (200, 202, 401), called
    return str(called.json.get("action") or "")


def forms(hostile: Hostile) -> Iterator[tuple[str, str, Callable[[str], bool], list[str]]]:
    """Yield forms to send with hostile text: the address, the button, which fields to fill, and what is shown."""
    service = hostile.values["service_uuid"]
    yield f"/service/{service}/connect/?sender=ghcr", "Create the URL", lambda name: name in ("name", "patterns"), []
    yield f"/service/{service}/handler/new/", "Create the handler", lambda name: name not in ("csrf", "once"), [SHORT]
    yield "/groups/new/", "Create the group", lambda name: name not in ("csrf", "once", "stack"), [SHORT]
    yield f"/service/{service}/", "Hold the redeploys", lambda name: name == "reason", [SHORT]
    tried = ("headers", "query", "body", "address")
    path = hostile.address("/service/{service_uuid}/handler/{number}/try/")
    yield path, "Try this payload", lambda name: name in tried, [SHORT]
    yield "/notifications/new/", "Create the target", lambda name: name in ("name", "service", "stack"), [SHORT]
    yield "/freeze/", "Add the window", lambda name: name not in ("csrf", "server"), [SHORT]
    yield "/account/", "Make a key", lambda name: name in ("service", "stack"), [SHORT]
