"""Images of the service `web` of a store bed: what its engine shows, redeploys to images, and rollbacks."""

from dataclasses import replace

from tests.support.stores import ORIGIN, StoreBed, snapshot
from tutumd.model import Action, Claim, ImageFacts, Outcome, ServiceSnapshot, Verb


def image(letter: str) -> ImageFacts:
    """Return an image of a registry."""
    return ImageFacts(reference="shop:latest", digest=f"sha256:{letter * 64}", platform="linux/amd64")


def look(letter: str) -> ServiceSnapshot:
    """Return what the engine shows while the service runs an image."""
    return replace(snapshot("web"), image=image(letter), image_digest=f"sha256:{letter * 64}")


def submit(bed: StoreBed, verb: Verb = Verb.REDEPLOY) -> Action:
    return bed.store.submit(bed.admin, bed.service_uuid("web"), verb, target=None, origin=ORIGIN)


def end(bed: StoreBed, claim: Claim, letter: str, *, success: bool = True) -> None:
    """End an action, after which the service runs an image."""
    bed.clock.move(1)
    bed.queue.finish(claim, Outcome(success=success, image=image(letter) if success else None), look(letter))


def redeploy(bed: StoreBed, *letters: str) -> None:
    """Redeploy the service to one image after the other."""
    for letter in letters:
        submit(bed)
        end(bed, bed.claimed(), letter)


def roll_back(bed: StoreBed, image: str | None = None, *, hold: bool = False, reason: str = "") -> Action:
    """Request a rollback."""
    uuid = bed.service_uuid("web")
    return bed.store.roll_back(bed.admin, uuid, image=image, hold=hold, reason=reason, origin=ORIGIN)


def perform_rollback(bed: StoreBed) -> str:
    """Claim a ROLLBACK, end it with success, and return the letter of its image."""
    claim = bed.claimed()
    assert claim.action.verb is Verb.ROLLBACK and claim.action.image is not None
    letter = claim.action.image.digest[-1]
    end(bed, claim, letter)
    return letter


def history(bed: StoreBed) -> list[tuple[int, str, int | None]]:
    """Return number, letter (with `?` if not verified) and previous of each row, oldest first."""
    rows = bed.store.images(bed.admin, bed.service_uuid("web"))
    assert [row.is_running for row in rows] == [row is rows[0] for row in rows]
    return [(row.number, row.digest[-1] + "?" * (not row.is_verified), row.previous) for row in reversed(rows)]
