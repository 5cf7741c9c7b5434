"""The sentences of reasons."""

from collections.abc import Mapping, Sequence

from tutumd.model import Delivery
from tutumd.reasons import Reason

SENTENCES: Mapping[str, str] = {
    # The handler accepts no call now, or none from this address.
    "disabled": "disabled",
    "expired": "expired",
    "used-up": "used up",
    "address-not-allowed": "{0} is not allowed",
    "invalid": "{0}",
    "too-many-calls": "{0}",
    # The sender.
    "header-missing": "the header {0} is missing",
    "header-repeated": "the header {0} occurs {1} times",
    "prefix-missing": "{0} does not begin with {1}",
    "signature-wrong": "{0} does not match the body",
    "scheme-wrong": "{0} is not of the form {1} TOKEN",
    "token-wrong": "the token in {0} is wrong",
    "timestamp-malformed": "webhook-timestamp is not in seconds since 1970",
    "timestamp-off": "webhook-timestamp is more than 5 minutes off",
    "body-not-utf8": "the body is not UTF-8, which Standard Webhooks requires",
    "webhook-signature-wrong": "webhook-signature does not match",
    # The event.
    "ping": "it is a ping",
    "ref-deleted": "{0} {1!r} was deleted",
    "nothing-pushed": "nothing was pushed to the registry",
    "package-deleted": "a package was deleted",
    "no-pushed-tag": "there is no pushed tag: it is a layer, or one platform of an image",
    # The filter.
    "filter-failed": "the filter could not be evaluated: {0}",
    "filter-true": "the filter is true for this payload",
    "filter-not-true": "the filter is not true for this payload",
    "other-repository": "nothing was pushed to the repository {0!r}",
    "no-pushed-ref": "the payload names no pushed {0}; wanted is {1}",
    "no-pushed-ref-of-event": "the payload names no pushed {0} (event {2!r}); wanted is {1}",
    "ref-matches": "{0} {1!r} matches {2}",
    "ref-differs": "{0} {1!r} is not {2}",
    "no-commits": "the payload is not a push of commits and names no files",
    "files-unknown": "not all changed files are known, so it counts",
    "file-matches": "a changed file matches {0}",
    "no-file-matches": "none of {0} changed files matches {1}",
    "marker-found": "the commit message has {0}",
    "marker-not-found": "the commit message does not have {0}",
    # The tag and the body.
    "tag-failed": "the tag could not be found: {0}",
    "no-tag-at-source": "the payload names no tag where tag.from looks",
    "not-a-tag": "the value that tag.from finds is not a tag",
    "tag-not-allowed": "tag {0!r} is not among those allowed",
    "body-too-large": "the body was not passed on: it has {0} bytes, more than {1}",
    "body-not-text": "the body was not passed on: it is not UTF-8",
    "body-has-nul": "the body was not passed on: it has a NUL character",
    "not-stored": "this was not stored with the delivery and is missing: {0}",
    # Other deliveries.
    "repeated": "it repeats an earlier delivery, which action {0} carries out",
    "later-tag": "a later call named the tag {0!r}",
    "later-body": "a later call brought another body",
    # Checks of a trial.
    "is-disabled": "the handler is disabled",
    "has-expired": "the handler has expired",
    "not-expired": "the handler has not expired yet",
    "address-allowed": "{0} is allowed",
    "sender-right": "{0}: right",
    "is-event": "neither a ping nor a deletion",
    "tag-chosen": "the tag is {0!r}",
    "no-tag": "the call names no tag",
    "body-passed": "the body becomes {0}",
    "trial-without-content": "The server stored nothing of this delivery. The trial has no headers, query or body.",
    "trial-without-signature": "The server stores no signatures and tokens. The trial cannot check the sender.",
    "trial-of-cut-body": "The server stored only the first part of the body. Filters and tags see only this part.",
    "trial-without-parts": "The server did not store these parts: {0}.",
}
_STATUSES = {
    "disabled": 404,
    "expired": 404,
    "used-up": 404,
    "address-not-allowed": 404,
    "invalid": 400,
    "too-many-calls": 429,
}


def write_reason(reason: Reason) -> str:
    """Return the sentence of a reason."""
    return SENTENCES[reason.code].format(*reason.values)


def write_reasons(reasons: Sequence[Reason]) -> str:
    """Return the sentences of reasons."""
    return "; ".join(map(write_reason, reasons))


def find_status(reason: Reason) -> int:
    """Return the status of a refused call."""
    return _STATUSES.get(reason.code, 401)


def write_delivery_reason(delivery: Delivery) -> str:
    """Return the reason for a delivery's outcome, with the status of a call that was refused before its sender was
    checked.

    Empty if there is nothing to say.
    """
    text = write_reasons(delivery.reasons)
    statuses = [_STATUSES[reason.code] for reason in delivery.reasons if reason.code in _STATUSES]
    return f"{statuses[0]}: {text}" if statuses else text
