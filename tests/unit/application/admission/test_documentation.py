"""The examples of docs/how-to/senders*.md, evaluated with recorded payloads of their senders."""

import hashlib
import hmac
import json
import re
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from script.handler_fields import stale_files

from tests.unit.application.admission.calls import NOW, hex_hmac, payload
from tutumd.application.admission.evaluate import CallInput, VerdictKind, evaluate, parse_options

DOCS = Path(__file__).parents[4] / "docs"
TEXT = "".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("how-to/senders*.md")))
BLOCKS = re.findall(r"<!-- goes: ([^;]+?)(?:; skipped: (.+?))? -->\n```json\n(.+?)```", TEXT, re.DOTALL)
CASES = [
    (name, goes, block)
    for yes, no, block in BLOCKS
    for names, goes in ((yes, True), (no, False))
    for name in names.split(", ")
    if name
]


def test_every_example_names_its_payloads() -> None:
    assert len(BLOCKS) == TEXT.count("```json")
    assert {name.partition("-")[0] for name, goes, _ in CASES if goes} >= {
        "github", "ghcr", "gitlab", "gitea", "bitbucket", "dockerhub", "quay", "harbor", "distribution", "alertmanager",
        "diun", "wud"
    }  # fmt: skip


@pytest.mark.parametrize(("name", "goes", "block"), CASES)
def test_an_example_admits_and_skips_the_named_payloads(name: str, goes: bool, block: str) -> None:
    fields = json.loads(block)
    options = parse_options(fields, NOW)
    call = payload(name)
    verdict = evaluate(options, sign(call, fields["verify"]) if "verify" in fields else call)
    assert verdict.kind is (VerdictKind.GO if goes else VerdictKind.SKIPPED)
    if "verify" in fields and fields["verify"]["preset"] != "token":
        assert evaluate(options, call).kind is VerdictKind.UNAUTHORIZED


@pytest.mark.parametrize(
    ("registry", "name", "tag"),
    [
        ("Docker Hub", "dockerhub", "latest"),
        ("GHCR", "ghcr-package", "v1.2.0"),
        ("Harbor", "harbor-push", "v1.0"),
        ("Quay", "quay", "latest"),
        ("Gitea, Forgejo", "gitea-package", "v2"),
        ("distribution, GitLab's, Azure", "distribution-push", "v3"),
    ],
)
def test_a_registry_names_the_tag_where_the_table_says(registry: str, name: str, tag: str) -> None:
    [row] = re.findall(rf"^\| {re.escape(registry)} \|.*$", TEXT, re.MULTILINE)
    source = re.findall(r"`(\(?body\.[^`…]+)`", row)[0]
    verdict = evaluate(parse_options({"tag": {"allow": ["*"], "from": source}}, NOW), payload(name))
    assert verdict.kind is VerdictKind.GO
    assert verdict.tag == tag


def test_generated_files_are_up_to_date() -> None:
    assert stale_files() == {}, "run script/generate"


def sign(call: CallInput, verify: dict[str, Any]) -> CallInput:
    """Do the sender's half, as its documentation tells."""
    secret = verify["secrets"][0]
    signature = hex_hmac(secret, call.body)
    headers = {
        "github": ("X-Hub-Signature-256", f"sha256={signature}"),
        "gitlab": ("X-Gitlab-Token", secret),
        "gitea": ("X-Gitea-Signature", signature),
        "forgejo": ("X-Forgejo-Signature", signature),
        "bitbucket": ("X-Hub-Signature", f"sha256={signature}"),
        "token": ("Authorization", secret if "header" in verify else f"Bearer {secret}"),
        "hmac": (
            "X-Signature",
            "v1=" + b64encode(hmac.new(secret.encode(), call.body, hashlib.sha512).digest()).decode(),
        ),
    }
    name, value = headers[verify["preset"]]
    others = [header for header in call.headers if header[0] != name.lower()]
    return replace(call, headers=[*others, (name.lower(), value)])
