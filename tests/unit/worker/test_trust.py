"""Seals of journals: what a worker accepts as written by a worker."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.runs import SEAL
from tests.support.services import service_row
from tests.support.stores import snapshot
from tests.unit.worker.fakes import make_action
from tutumd.model import Claim, ImageFacts, Outcome, Verb, WantedImage
from tutumd.ports.engine import LOST_JOURNAL
from tutumd.worker.trust import JournalSeal

JOURNAL = {"phase": "commit", "swaps": ({"old": "1", "policy": {"b": 0.1, "a": None}},), "text": "é\ud800"}
CLAIM = Claim(
    action=replace(make_action(), tag="v1", variables={"TUTUM_B": "1", "TUTUM_A": None}),
    service=service_row(engine="docker", selector="name:web"),
    token=1,
    attempts=0,
    journal={},
)


def stored(journal: object) -> Any:
    """Return a journal as a database gives it back."""
    return json.loads(json.dumps(journal))


def test_a_sealed_journal_comes_back_as_it_was() -> None:
    claim = replace(CLAIM, journal=stored(SEAL.close(CLAIM, JOURNAL)))
    assert SEAL.open(claim) == stored(JOURNAL)
    order = dict(reversed(list(claim.journal.items())))
    assert SEAL.open(replace(claim, journal=order)) == stored(JOURNAL), "also if the database changed the order"
    again = replace(claim, token=7, attempts=2, deaths=1, is_cancel_requested=True)
    assert SEAL.open(replace(again, action=replace(again.action, target=5, reason="waits"))) == stored(JOURNAL)


def test_an_empty_journal_needs_no_seal() -> None:
    assert SEAL.close(CLAIM, {}) == {}
    for empty in ("{}", "null", "[]", '""'):
        assert SEAL.open(replace(CLAIM, journal=json.loads(empty))) == {}


@pytest.mark.parametrize(
    "journal",
    [JOURNAL, {**JOURNAL, "seal": "0" * 64}, {**JOURNAL, "seal": None}, {"seal": "é"}, [JOURNAL], "swap", 1, True],
    ids=str,
)
def test_a_journal_without_a_seal_that_fits_is_lost(journal: object) -> None:
    assert SEAL.open(replace(CLAIM, journal=stored(journal))) == LOST_JOURNAL


def test_a_journal_that_was_changed_is_lost() -> None:
    sealed = stored(SEAL.close(CLAIM, JOURNAL))
    for changed in ({**sealed, "phase": "restore"}, {**sealed, "more": 1}, {"seal": sealed["seal"]}):
        assert SEAL.open(replace(CLAIM, journal=changed)) == LOST_JOURNAL


def test_a_journal_holds_for_one_action_of_one_service_as_it_was_asked_for() -> None:
    sealed = replace(CLAIM, journal=stored(SEAL.close(CLAIM, JOURNAL)))
    of_action: tuple[dict[str, Any], ...] = (
        {"uuid": "0a1b2c3d-0000-4000-8000-000000000002"},
        {"verb": Verb.SCALE},
        {"tag": None},
        {"tag": "v2"},
        {"variables": {}},
        {"image": WantedImage(number=1)},
    )
    of_service: tuple[dict[str, Any], ...] = ({"uuid": "0"}, {"engine": "swarm"}, {"selector": "name:other"})
    for change in of_action:
        assert SEAL.open(replace(sealed, action=replace(sealed.action, **change))) == LOST_JOURNAL, change
    for fields in of_service:
        assert SEAL.open(replace(sealed, service=replace(sealed.service, **fields))) == LOST_JOURNAL, fields


def test_a_journal_of_a_worker_with_another_key_is_lost() -> None:
    sealed = JournalSeal(b"another key").close(CLAIM, JOURNAL)
    assert SEAL.open(replace(CLAIM, journal=sealed)) == LOST_JOURNAL


def test_an_image_without_a_digest_gets_the_seal_of_its_service() -> None:
    image = ImageFacts(image_id="sha256:1")
    for given in (None, ImageFacts(), ImageFacts(digest="sha256:2", image_id="sha256:1")):
        assert SEAL.seal_image("docker", "name:web", Outcome(success=True, image=given)).image == given
    sealed = SEAL.seal_image("docker", "name:web", Outcome(success=True, image=image)).image
    assert sealed == replace(image, seal=SEAL.sign_image("docker", "name:web", "sha256:1"))
    seen = replace(snapshot("web"), selector="name:web", image=image)
    assert SEAL.seal_image("docker", seen.selector, seen).image == sealed
    assert SEAL.seal_image("swarm", seen.selector, seen).image != sealed
