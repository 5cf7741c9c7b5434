"""How the API and the pages name verdicts on calls, and the status that a call gets."""

from tutumd.application.admission.evaluate import Admitted, Hidden, Invalid, Skipped, Unauthorized

VERDICTS = {
    Admitted: ("go", 202),
    Skipped: ("skipped", 200),
    Hidden: ("not_found", 404),
    Unauthorized: ("unauthorized", 401),
    Invalid: ("invalid", 400),
}
