"""The kind `webhook`: a signed POST, as Standard Webhooks describes it."""

from datetime import UTC, datetime

from standardwebhooks import Webhook

from tutumd.application.admission.encryption import SecretCipher
from tutumd.application.notifications import decrypted
from tutumd.model.notifications import ClaimedNotification, SendResult, encode
from tutumd.notifier.links import page_links
from tutumd.notifier.outbound import Outbound, Response, UnreachableError

GONE = 410
_REDIRECTS = range(300, 400)


class WebhookSender:
    """Sends JSON. The signature of each attempt has the time of the attempt, and the ID of the message."""

    def __init__(self, outbound: Outbound, cipher: SecretCipher, *, public_url: str = "") -> None:
        """Create the sender; an empty `public_url` sends no links."""
        self._outbound = outbound
        self._cipher = cipher
        self._public_url = public_url

    def send(self, claimed: ClaimedNotification) -> SendResult:
        notification, target = claimed.notification, claimed.target
        settings = decrypted(target, self._cipher)
        payload = dict(notification.payload)
        if links := page_links(notification, self._public_url):
            payload["data"] = {**payload["data"], "links": links}
        body, now = encode(payload), datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": notification.uuid,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(settings["secret"]).sign(notification.uuid, now, body.decode()),
        }
        try:
            response = self._outbound.post(settings["url"], headers, body, may_use_proxy=target.owner_is_admin)
        except UnreachableError as error:
            return SendResult(sent=False, error=str(error), is_final=error.is_final)
        return judge_response(response)


def judge_response(response: Response) -> SendResult:
    """Return the result of a request by the status of its response."""
    status = response.status
    if 200 <= status < 300:
        return SendResult(sent=True, status=status)
    error = f"the receiver answered {status}"
    if status in _REDIRECTS:
        error += ", a redirect: set the URL that it redirects to, because redirects are not followed"
    if status == GONE:
        error += ": it wants no more messages"
    return SendResult(
        sent=False, status=status, error=error, is_gone=status == GONE, retry_after_s=response.retry_after_s
    )
