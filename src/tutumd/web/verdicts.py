"""The response status for each kind of verdict."""

from tutumd.application.admission.evaluate import VerdictKind

STATUSES = {
    VerdictKind.GO: 202,
    VerdictKind.SKIPPED: 200,
    VerdictKind.NOT_FOUND: 404,
    VerdictKind.UNAUTHORIZED: 401,
    VerdictKind.INVALID: 400,
}
