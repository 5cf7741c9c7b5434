"""The shell command that calls a handler, signed as it wants. The SDK has one of its own for `--for curl`."""

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from tutumd.application.handlers import public_options
from tutumd.model import TAG, Handler, Operation

_SIGNED = {
    "github": ("X-Hub-Signature-256", "sha256="),
    "bitbucket": ("X-Hub-Signature", "sha256="),
    "gitea": ("X-Gitea-Signature", ""),
    "forgejo": ("X-Forgejo-Signature", ""),
}
_READ_SECRET = "SECRET='…'   # one of the handler's secrets"  # noqa: S105 (a blank to fill in)
_TO_HEX = 'od -An -v -tx1 | tr -d " \\n"'


def write_call(handler: Handler, url: str) -> str:
    """Return the lines that call a handler with curl, and fail if its run fails. They contain the URL, a password."""
    options = public_options(handler)
    lines, headers = _sign(options["verify"] or {})
    tag = options["tag"] or {}
    query = f"?tag={_example_tag(tag['allow'])}&wait=300" if tag.get("from") == "query" else "?wait=300"
    lines.append(f"curl -sS --fail-with-body -X POST{headers} {quote(url + query)}")
    if handler.operation is Operation.SCALEUP:
        lines.append(f"# Three containers instead of one: the same with {quote(f'{url}3/?wait=300')}")
    return "\n".join(lines)


def _example_tag(globs: Sequence[str]) -> str:
    """Return a tag that is allowed, or a word that stands for one."""
    return next((glob for glob in globs if TAG.fullmatch(glob)), "TAG")


def _sign(verify: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the lines that prepare what a handler verifies, and the options of curl that send it."""
    preset = verify.get("preset")
    if not preset:
        return [], ""
    if preset == "gitlab":
        return [_READ_SECRET], ' -H "X-Gitlab-Token: $SECRET"'
    if preset == "token":
        name = f"{verify['header']}: " if verify.get("header") else "Authorization: Bearer "
        return [_READ_SECRET], f' -H {quote(name)}"$SECRET"'
    lines, body = [_READ_SECRET, "BODY='{}'"], " -H 'Content-Type: application/json' --data-raw \"$BODY\""
    if preset == "standard-webhooks":
        lines += [
            "ID=$(openssl rand -hex 16) TIME=$(date +%s)",
            f'KEY=$(printf %s "${{SECRET#whsec_}}" | openssl base64 -d -A | {_TO_HEX})',
            'SIGNATURE=$(printf %s "$ID.$TIME.$BODY" |'
            ' openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | openssl base64 -A)',
        ]
        return lines, f' -H "webhook-id: $ID" -H "webhook-timestamp: $TIME" -H "webhook-signature: v1,$SIGNATURE"{body}'
    encode = "openssl base64 -A" if verify.get("encoding") == "base64" else _TO_HEX
    algorithm = verify.get("algorithm", "sha256")
    lines.append(f'SIGNATURE=$(printf %s "$BODY" | openssl dgst -{algorithm} -hmac "$SECRET" -binary | {encode})')
    header, prefix = _SIGNED.get(preset, (verify.get("header"), verify.get("prefix", "")))
    return lines, f' -H {quote(f"{header}: {prefix}")}"$SIGNATURE"{body}'
