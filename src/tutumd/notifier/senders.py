"""The kinds webhook, a signed POST as Standard Webhooks describes it, and forge, the status of a commit."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from standardwebhooks import Webhook

from tutumd.model.notifications import ClaimedNotification, Event, Notification, SendResult, encode
from tutumd.notifier.outbound import Outbound, Response, UnreachableError
from tutumd.notifier.texts import page_links, shorten, write_result

GONE = 410


class _HttpSender:
    """Sends one request, and judges its response."""

    def __init__(self, outbound: Outbound, *, public_url: str = "") -> None:
        """Create the sender; an empty `public_url` sends no links."""
        self._outbound = outbound
        self._public_url = public_url

    def send(self, claimed: ClaimedNotification) -> SendResult:
        notification, target = claimed.notification, claimed.target
        links = page_links(notification, self._public_url)
        url, headers, body = self.make_request(notification, target.settings, links)
        try:
            response = self._outbound.post(url, headers, body, may_use_proxy=target.owner_is_admin)
        except UnreachableError as error:
            return SendResult(sent=False, error=str(error), is_final=error.is_final)
        return self.judge(response, notification.event)

    def make_request(
        self, notification: Notification, settings: Mapping[str, str], links: Mapping[str, str]
    ) -> tuple[str, dict[str, str], bytes]:
        """Return the URL, the headers and the body of a request."""
        raise NotImplementedError

    def judge(self, response: Response, event: Event) -> SendResult:
        """Return the result of a request by the status of its response."""
        status = response.status
        if 200 <= status < 300:
            return SendResult(sent=True, status=status)
        error = f"the receiver answered {status}"
        if 300 <= status < 400:
            error += ", a redirect: set the URL that it redirects to, because redirects are not followed"
        if status == GONE:
            error += ": it wants no more messages"
        return SendResult(
            sent=False, status=status, error=error, is_gone=status == GONE, retry_after_s=response.retry_after_s
        )


class WebhookSender(_HttpSender):
    """Sends JSON. The signature of each attempt has the time of the attempt, and the ID of the message."""

    def make_request(
        self, notification: Notification, settings: Mapping[str, str], links: Mapping[str, str]
    ) -> tuple[str, dict[str, str], bytes]:
        payload = dict(notification.payload)
        if links:
            payload["data"] = {**payload["data"], "links": links}
        body, now = encode(payload), datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": notification.uuid,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(settings["secret"]).sign(notification.uuid, now, body.decode()),
        }
        return settings["url"], headers, body


MAX_DESCRIPTION = 140  # GitHub's limit
NO_COMMIT = "0" * 40
"""The commit of a test: no repository has it, so the forge checks the token and changes nothing."""

_STATES = {
    Event.TEST: "pending",
    Event.ACTION_STARTED: "pending",
    Event.ACTION_SUCCEEDED: "success",
    Event.ACTION_FAILED: "failure",
    Event.ACTION_CANCELED: "error",
}
_GITLAB_STATES = {"pending": "running", "failure": "failed", "error": "canceled"}
_TRANSITION = re.compile(rb"Cannot transition status .{0,40}? from :(\w+)")
_REFUSALS = {
    401: "the forge refuses the token: set a valid token",
    403: "the forge refuses the token: it needs the right to write commit statuses, and nothing may limit its requests",
    404: "the forge does not find the repository or the commit, or the token may not read them",
    422: "the forge does not find the commit: limit the target to services that are built from its repository",
}


class ForgeSender(_HttpSender):
    """Sets commit statuses. The repository is that of the target, whatever a payload names.

    Sources: https://docs.github.com/rest/commits/statuses (create a commit status),
    https://docs.gitlab.com/api/commits (set commit pipeline status), https://docs.gitea.com/api (repoCreateStatus)
    """

    def make_request(
        self, notification: Notification, settings: Mapping[str, str], links: Mapping[str, str]
    ) -> tuple[str, dict[str, str], bytes]:
        event, payload = notification.event, notification.payload
        is_test, state, token = event is Event.TEST, _STATES[event], settings["token"]
        commit = NO_COMMIT if is_test else payload["data"]["revision"]
        service = "test" if is_test else payload["data"]["service"]["name"]
        status: dict[str, Any] = {
            "state": state,
            "description": "Test" if is_test else shorten(write_result(payload), MAX_DESCRIPTION),
            "context": settings["context"] or f"tutumd/{service}",
        }
        if link := links.get("action"):
            status["target_url"] = link
        if is_test and settings["forge"] in ("gitea", "forgejo"):
            # They answer 500 to a commit that does not exist, and 422 to a wrong type, after they checked the token.
            status["state"] = 0
        headers = {"content-type": "application/json", "accept": "application/json"}
        if settings["forge"] == "gitlab":
            status |= {"state": _GITLAB_STATES.get(state, state), "name": status.pop("context")}
            path, headers["private-token"] = f"projects/{quote(settings['repository'], safe='')}", token
        else:
            path, headers["authorization"] = f"repos/{settings['repository']}", f"token {token}"
        if settings["forge"] == "github":
            headers |= {"authorization": f"Bearer {token}", "x-github-api-version": "2022-11-28"}
        return f"{settings['api']}/{path}/statuses/{commit}", headers, json.dumps(status).encode()

    def judge(self, response: Response, event: Event) -> SendResult:
        """Return the result of a request. GitLab refuses to set the state that a status already has."""
        status, state = response.status, _GITLAB_STATES.get(_STATES[event], _STATES[event])
        if event is Event.TEST and (status == 422 or (status == 404 and b"commit not found" in response.body.lower())):
            return SendResult(sent=True)  # the forge has checked the token before
        found = _TRANSITION.search(response.body) if status == 400 else None
        if found and (event is Event.ACTION_STARTED or found[1].decode() == state):
            return SendResult(sent=True, status=status)
        if found:
            has = found[1].decode()
            error = f"GitLab does not change a status from {has} to {state}: set another context if others use this one"
            return SendResult(sent=False, status=status, error=error, is_final=True)
        result = super().judge(response, event)
        return replace(result, error=_REFUSALS.get(status, result.error))
