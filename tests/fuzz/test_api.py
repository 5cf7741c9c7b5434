"""Requests that follow the OpenAPI document, or break it, in any order: schemathesis against a server.

An admin, a member and somebody without credentials send them. They go to the same few services, handlers, actions and
containers, so that each finds what earlier ones left. Each response is as documented, none is an error of the server,
and no error text or log holds a secret.
"""

import random
import re
from collections import Counter
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from tests.acceptance.accounts import add_member
from tests.fuzz.budget import budget
from tests.support.server import APIKEY, USER, LiveServer

pytestmark = [pytest.mark.slow, pytest.mark.local]

Case = Any
EXAMPLES = 4
SECRET = "secret-of-the-sender-0123456789"
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CHECKED = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
ENDS_A_SERVICE = ("DELETE /api/v1/service/{uuid}/", "POST /api/v1/service/{uuid}/forget/")


class Known:
    """UUIDs that the server has shown, to put in place of those that are drawn."""

    def __init__(self, services: list[str]) -> None:
        self.services = services
        self.handlers: dict[str, str] = {}
        self.others: dict[str, list[str]] = {"action": [], "container": []}
        self.secrets = {APIKEY, SECRET}

    def read(self, text: str) -> None:
        """Remember what a response shows."""
        for service, handler in re.findall(f"/service/({UUID})/webhook/handler/({UUID})/", text):
            self.handlers.setdefault(handler, service)
            self.secrets.add(handler)
        for kind, uuids in self.others.items():
            uuids += set(re.findall(f"/{kind}/({UUID})/", text)) - set(uuids)

    def put_into(self, case: Case) -> None:
        """Put known UUIDs into the path of most requests. Which one is decided by what was drawn."""
        route, path = f"{case.method} {case.path}", case.path_parameters or {}
        drawn = crc32(repr(sorted(path.items())).encode())
        if route in ENDS_A_SERVICE or drawn % 8 == 0:
            return
        kind = case.path.split("/")[3:4]
        if "handler_uuid" in path and self.handlers:
            path["handler_uuid"] = sorted(self.handlers)[drawn % len(self.handlers)]
            path["service_uuid"] = self.handlers[path["handler_uuid"]]
        elif "service_uuid" in path or kind == ["service"]:
            path.update({name: self.services[drawn % len(self.services)] for name in path if name.endswith("uuid")})
        elif kind and (uuids := self.others.get(kind[0])) and "uuid" in path:
            path["uuid"] = uuids[drawn % len(uuids)]
        if "number" in path:
            path["number"] = str(drawn % 20)


def tame(case: Case) -> None:
    """Keep what is drawn from running other programs, and from waiting for ten minutes."""
    for name in ("run_command", "entrypoint"):
        if isinstance(case.body, dict) and name in case.body:
            case.body[name] = "sleep 600"
    if len(str((case.query or {}).get("wait", ""))) > 1:
        case.query["wait"] = "1"


def strict(schema: Any) -> Any:
    """Return a document whose objects have no other fields than it says, and whose pairs of one type are lists.

    Of `prefixItems`, schemathesis makes what OpenAPI lacks.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    described = {name: strict(value) for name, value in schema.items() if name != "prefixItems"}
    if "prefixItems" in schema:
        (described["items"],) = {str(each): each for each in schema["prefixItems"]}.values()
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        described.setdefault("additionalProperties", False)
    return described


def drawn_cases(document: dict[str, Any], examples: int) -> list[Case]:
    """Return requests to all operations in a mixed order: as documented, and not. They depend on no response."""
    cases: list[Case] = []
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(result, Ok), result
        for mode in GenerationMode:

            @budget(examples)
            @given(result.ok().as_strategy(generation_mode=mode))
            def draw(case: Case) -> None:
                cases.append(case)

            with suppress(Unsatisfiable):  # nothing of it can be wrong
                draw()
    random.Random(2015).shuffle(cases)
    return cases


@pytest.mark.timeout(1800)
def test_requests_in_any_order_are_answered_as_documented(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--max-containers", "2") as server:
        services = [server.run_service(f"fuzzed-{number}") for number in range(3)]
        known = Known(services)
        for service in services:
            verify = {"preset": "github", "secrets": [SECRET]}
            for fields in ({"verify": verify}, {"operation": "SCALEUP"}, {"tag": {"allow": ["*"]}}):
                known.read(str(server.make_handler(service, **fields)))
        document = strict(server.request("GET", "/api/openapi.json", authorization=None).json)
        load_all_checks()
        checks = [CHECKS.get_one(name) for name in CHECKED]
        answers: Counter[str] = Counter()
        member = add_member(server, "member")
        admin = {"Authorization": f"ApiKey {USER}:{APIKEY}"}
        callers = [admin, admin, admin, {"Authorization": f"ApiKey member:{member.key}"}, {}]
        for case, headers in zip(drawn_cases(document, EXAMPLES), cycle(callers), strict=False):
            tame(case)
            known.put_into(case)
            response = case.call(base_url=server.url, headers=headers, timeout=240)
            answers[f"{case.method} {case.path} {response.status_code}"] += 1
            assert response.status_code != 500, (case.as_curl_command(), response.text)
            if response.status_code < 400:
                known.read(response.text)
            else:
                assert not [secret for secret in known.secrets if secret in response.text], response.text
            case.validate_response(response, checks=checks)
        print(*sorted(answers.items()), sep="\n")
        routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
        assert {answer.rpartition(" ")[0] for answer in answers} == routes
        assert [secret for secret in known.secrets if secret in server.log] == []
