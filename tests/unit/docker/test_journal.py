"""Half-done actions, continued from the journals that are stored."""

import json
from dataclasses import asdict
from typing import Any

from tests.unit.docker.documents import ALWAYS, identity
from tests.unit.docker.test_resume import NEW, OLD, Case, Recorded, readiness
from tutumd.engines.docker.apply.scale import ScaleJournal
from tutumd.engines.docker.apply.start_stop import start_containers
from tutumd.engines.docker.plan.journal import RedeployJournal, Swap, load_journal

NEXT = "shop-web-1-tutum-next-0a1b2c3d"
REDEPLOY: dict[str, Any] = {
    "phase": "swap",
    "stable_s": None,
    "keep_images": 0,
    "local": True,
    "tagged_before": {"app": OLD},
    "images_before": [OLD],
    "images_tried": [NEW],
    "digest_before": OLD,
    "digest_tried": None,
    "containers_before": [identity(1)],
    "left_tags": [],
    "swaps": [
        {
            "name": "shop-web-1",
            "old": identity(1),
            "new": identity(2),
            "run": True,
            "ran": True,
            "paused": False,
            "policy": ALWAYS,
            "spare": "",
            "image": "app",
            "start_first": False,
            "endpoints": {"bridge": {}},
            "follows": False,
            "auto_remove": False,
        }
    ],
    "reason": "",
    "log_tail": "",
}
SCALE: dict[str, Any] = {
    "phase": "add",
    "before": [identity(1)],
    "copies": [{"name": "shop-web-2", "number": 2}],
    "doomed": [],
    "reason": "",
    "log_tail": "",
}


def test_a_start_that_failed_stops_what_it_has_started() -> None:
    engine = Case(states=["running", "running"]).engine()
    journal = {"started": [identity(2)], "failed": "it failed", "log_tail": "bye"}
    outcome = start_containers(readiness(engine), engine.inspected(), Recorded(journal=journal))
    assert (outcome.reason, outcome.log_tail, outcome.rolled_back) == ("it failed", "bye", True)
    assert [entry[1] for entry in engine.summary().values()] == ["running", "exited"]


def test_the_keys_of_journals_stay() -> None:
    assert asdict(RedeployJournal(phase="pull")).keys() == REDEPLOY.keys()
    swap = Swap(name="", old="", new="", run=True, ran=True, paused=False, policy={})
    assert asdict(swap).keys() == REDEPLOY["swaps"][0].keys()
    assert asdict(ScaleJournal(phase="add", before=())).keys() == SCALE.keys()


def test_a_journal_is_read_back_as_it_was_stored() -> None:
    journal = load_journal(REDEPLOY)
    assert journal is not None
    assert json.loads(json.dumps(asdict(journal))) == REDEPLOY
    assert load_journal({}) is None
