"""A tag that a call brings along, the whole way to containers of a real Docker Engine."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance.test_engines_end_to_end import containers, version_of
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import Answer, LiveServer

pytestmark = pytest.mark.slow

IMAGE = f"{ANONYMOUS}/app"


def run(bed: DockerBed, server: LiveServer, image: str, **fields: Any) -> str:
    """Run a container `api` with a handler, and return the handler's URL."""
    bed.docker("run", "-d", "--name", "api", "--env", "OWN=kept", image)
    return str(server.make_handler(server.find("api", running_num_containers=1)["uuid"], **fields)["url"])


def ask(server: LiveServer, url: str, tag: str = "", body: bytes = b"") -> Answer:
    path = f"{url}?wait=120" + (f"&tag={quote(tag, safe='')}" if tag else "")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return server.send(head.encode() + body)


def api(bed: DockerBed) -> dict[str, Any]:
    (found,) = containers(bed, "name=api").values()
    return found


def own_labels(bed: DockerBed, name: str) -> dict[str, str]:
    """The labels that tutumd wrote on a container."""
    labels = bed.inspect("container", name)["Config"]["Labels"]  # type: ignore[index] # an inspect document
    return {name: value for name, value in labels.items() if name.startswith("tutum.image.")}


@pytest.mark.parametrize(
    "form", ["digest", *(pytest.param(form, marks=pytest.mark.nightly) for form in ("tag", "no tag", "tag and digest"))]
)
def test_a_tag_of_the_call_is_deployed_whatever_form_the_image_has(
    clean_bed: DockerBed, server: LiveServer, form: str
) -> None:
    bed = clean_bed
    for tag in ("v1", "latest"):
        digest = bed.push("app", "v1", tag)
    bed.push("app", "v2", "v2")
    forms = {"tag": ":v1", "no tag": "", "digest": f"@{digest}", "tag and digest": f":v1@{digest}"}
    url = run(bed, server, IMAGE + forms[form], tag={"allow": ["v*"], "from": "query"})
    answer = ask(server, url, "v2")
    assert (answer.status, answer.json["state"]) == (200, "Success"), answer
    assert (api(bed)["Config"]["Image"], version_of(bed, "api")) == (f"{IMAGE}:v2", "v2")
    assert (ask(server, url, "v1").status, version_of(bed, "api")) == (200, "v1")
    assert api(bed)["Config"]["Image"] == f"{IMAGE}:v1"
    bed.push("app", "v2", "v1")
    # Without a tag, what was there before all calls: a tag may have moved since, a digest has not.
    assert ask(server, url).json["state"] == "Success"
    assert (api(bed)["Config"]["Image"], version_of(bed, "api")) == (
        IMAGE + forms[form],
        "v2" if form == "tag" else "v1",
    )
    assert own_labels(bed, "api") == {}


def test_a_tag_from_the_payload_never_changes_the_repository(clean_bed: DockerBed, server: LiveServer) -> None:
    bed = clean_bed
    bed.push("app", "v1", "v1")
    bed.push("app", "v2", "v2")
    bed.push("evil", "v3-broken", "v2")
    url = run(bed, server, f"{IMAGE}:v1", tag={"allow": ["v*"], "from": "body.push_data.tag"})
    pushed = b'{"push_data": {"tag": "v2"}, "repository": {"repo_name": "127.0.0.1:5000/evil"}}'
    assert ask(server, url, body=pushed).json["state"] == "Success"
    assert (api(bed)["Config"]["Image"], version_of(bed, "api")) == (f"{IMAGE}:v2", "v2")
    for tag in ("latest", f"v2@sha256:{'0' * 64}", "v1/../../evil:v2", "", "v2\\n"):
        skipped = ask(server, url, body=b'{"push_data": {"tag": "%s"}}' % tag.encode())
        assert (skipped.status, skipped.json["state"]) == (200, "Skipped"), skipped
    assert ask(server, url, "v1").status == 400, "the tag comes from the payload only"
