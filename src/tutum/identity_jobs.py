"""Jobs of pipelines that call a webhook handler with an identity token, without a secret."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from tutum.version import __version__

#: Jobs of a pipeline that call with an identity token. `{call}` holds the lines that call with the token.
IDENTITY_JOBS = {
    "github": """\
redeploy:
  runs-on: ubuntu-latest
  permissions:
    id-token: write
  steps:
    - uses: tutumd/tutumd/action@v{version}
      with:
        url: {url}
        oidc: true{inputs}""",
    "gitlab": """\
redeploy:
  image: curlimages/curl
  id_tokens:
    TUTUM_TOKEN:
      aud: {audience}
  script:
    - |
      {call}""",
    "forgejo": """\
redeploy:
  runs-on: docker
  enable-openid-connect: true
  steps:
    - run: |
        TUTUM_TOKEN=$(curl -sS --fail -H "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
          "$ACTIONS_ID_TOKEN_REQUEST_URL&audience={quoted}" | sed -n 's/.*"value" *: *"\\([^"]*\\)".*/\\1/p')
        {call}""",
}


def write_identity_job(target: str, url: str, handler: Mapping[str, Any], tag: str, call: Sequence[str]) -> str:
    """Return the job for a pipeline.

    Args:
        target: One of IDENTITY_JOBS.
        handler: The handler as the API describes it.
        tag: Example of the tag that a call may name; empty if a call names none.
        call: Shell lines that call the handler with the token in the variable TUTUM_TOKEN.
    """
    parts, given = urlsplit(url), handler["verify"].get("audience")
    inputs, audience = {"audience": given, "tag": tag}, given or f"{parts.scheme}://{parts.netloc}"
    values = {
        "version": __version__,
        "url": url,
        "inputs": "".join(f"\n        {name}: {json.dumps(value)}" for name, value in inputs.items() if value),
        "audience": json.dumps(audience),
        "quoted": quote(audience, safe=":/"),
    }
    text = IDENTITY_JOBS[target]
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    indentation = text.partition("{call}")[0].rpartition("\n")[2]
    return text.replace("{call}", f"\n{indentation}".join(call))
