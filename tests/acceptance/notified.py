"""Notification targets of the tests: their documents, and how members create and list them."""

from typing import Any

from tests.acceptance.accounts import Member

TARGETS, MESSAGES = "/api/v1/notification/target/", "/api/v1/notification/"
REFUSED = "https://127.0.0.1:9/hooks/s3cret-path"
"""Refused by every server: loopback is in no network of its `--notify-allow`."""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK = {"kind": "webhook", "settings": {"url": REFUSED}}
FORGE = {"kind": "forge", "settings": {"forge": "github", "repository": "a/b", "token": "t0ken"}}


def create(member: Member, name: str = "oncall", **fields: Any) -> dict[str, Any]:
    """Create a target."""
    answer = member.send("POST", TARGETS, {"name": name, **WEBHOOK, **fields})
    assert answer.status == 201, answer
    return dict(answer.json)


def objects(member: Member, path: str = TARGETS) -> list[dict[str, Any]]:
    return list(member.send("GET", path).json["objects"])
