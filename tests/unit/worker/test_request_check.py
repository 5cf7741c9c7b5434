"""What a worker accepts of an action's row."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.runs import SEAL
from tests.support.services import service_row
from tests.unit.worker.fakes import FakeClock, FakeQueue, make_action, make_run
from tutumd.errors import EngineRefusedError
from tutumd.model import Verb, WantedImage, read_wanted
from tutumd.worker.trust import check_request, trusted_image

DIGEST = f"sha256:{'0' * 64}"
REFUSED: tuple[dict[str, Any], ...] = (
    {"variables": {"LD_PRELOAD": "/tmp/evil.so"}},
    {"variables": {"TUTUM_TRIGGER_BODY": "", "PATH": "/tmp"}},
    {"variables": {"TUTUM_A=1\nLD_PRELOAD": "/tmp/evil.so"}},
    {"variables": {"TUTUM_A\n": "1"}},
    {"variables": {"tutum_a": "1"}},
    {"variables": {"TUTUM_": "1"}},
    {"variables": {"TUTUM_Ä": "1"}},
    {"variables": {"TUTUM_A": 1}},
    {"variables": {"TUTUM_A": {"valueFrom": "secret"}}},
    {"variables": ["LD_PRELOAD"]},
    {"variables": None},
    {"tag": f"v1@sha256:{'0' * 64}"},
    {"tag": f"@sha256:{'0' * 64}"},
    {"tag": "../evil"},
    {"tag": "evil/app:v1"},
    {"tag": "5000/evil/app:v1"},
    {"tag": "v1 "},
    {"tag": " v1"},
    {"tag": "v1\n"},
    {"tag": "v1\u2028"},
    {"tag": ""},
    {"tag": "-v1"},
    {"tag": "v" * 129},
    {"tag": 1},
    {"image": {"number": 1, "digest": DIGEST}},  # of a REDEPLOY
    {"verb": Verb.ROLLBACK},
    *(
        {"verb": Verb.ROLLBACK, "image": image}
        for image in (
            {},
            [DIGEST],
            "image",
            {"number": 1},
            {"number": True, "digest": DIGEST},
            {"number": "1", "digest": DIGEST},
            {"number": 1, "digest": f"evil/app@{DIGEST}"},
            {"number": 1, "digest": f"{DIGEST}\n"},
            {"number": 1, "digest": "sha512:00"},
            {"number": 1, "digest": None, "image_id": DIGEST},
            {"number": 1, "image_id": "app:latest"},
            {"number": 1, "digest": DIGEST, "seal": "\ud800"},
        )
    ),
    {"uuid": ""},
    {"uuid": "../../../0000-0000-4000-8000-000000000001"},
    {"uuid": "0a1b2c3d-0000-4000-8000-000000000001\n"},
    {"uuid": "0A1B2C3D-0000-4000-8000-000000000001"},
)


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_a_row_that_asks_for_what_no_handler_can_ask_for_is_refused(row: dict[str, Any]) -> None:
    image = read_wanted(row["image"]) if "image" in row else None
    with pytest.raises(EngineRefusedError, match=r"^refused: the tag, the image or a variable"):
        check_request(replace(make_action(), **{**row, "image": image}))


def test_what_a_handler_can_ask_for_is_accepted() -> None:
    for tag in (None, "v1", "latest", "1.2.3-rc_1", "_", "v" * 128):
        check_request(replace(make_action(), tag=tag))
    for variables in ({}, {"TUTUM_TRIGGER_BODY": '{"a": "$(PATH)\n"}', "TUTUM_2": None}):
        check_request(replace(make_action(), variables=variables))
    for image in ({"number": 1, "digest": DIGEST, "repository": "evil/app"}, {"number": 9, "image_id": DIGEST}):
        check_request(replace(make_action(), verb=Verb.ROLLBACK, image=read_wanted(image)))


WEB = service_row(engine="docker", selector="name:web")


def test_an_image_id_counts_only_if_a_worker_has_seen_the_service_run_it() -> None:
    seal = SEAL.sign_image("docker", "name:web", DIGEST)
    sealed = WantedImage(number=1, image_id=DIGEST, seal=seal)
    assert trusted_image(sealed, WEB, SEAL) == sealed
    for service in (replace(WEB, selector="name:other"), replace(WEB, engine="swarm")):
        with pytest.raises(EngineRefusedError, match="image #1 has no digest, and no worker with this key has seen"):
            trusted_image(sealed, service, SEAL)
    for image in (replace(sealed, seal=""), replace(sealed, image_id=f"sha256:{'1' * 64}")):
        with pytest.raises(EngineRefusedError, match="no worker with this key"):
            trusted_image(image, WEB, SEAL)
        named = trusted_image(replace(image, digest=DIGEST), WEB, SEAL)
        assert named == replace(image, digest=DIGEST, image_id="")


def test_a_rollback_sets_neither_a_tag_nor_variables() -> None:
    image = WantedImage(number=1, digest=DIGEST)
    action = replace(make_action(), verb=Verb.ROLLBACK, image=image, tag="v1", variables={"TUTUM_A": "1"})
    run = make_run(FakeQueue(), FakeClock(), service=WEB, action=action, journal={})
    assert (run.tag, run.variables, run.image) == (None, {}, image)
