"""Requests are judged by the shared clock, not by the clock of the replica's machine."""

import base64
import hashlib
import hmac
from datetime import timedelta

import pytest

from tests.support.replica import Replica, make
from tests.support.stores import StoreBed

pytestmark = pytest.mark.dialect

SECRET = base64.b64encode(b"s" * 32).decode()


@pytest.mark.slow
def test_a_handler_expires_by_the_shared_clock(bed: StoreBed, replica: Replica) -> None:
    handler = make(bed, replica, expires_datetime=(bed.clock() + timedelta(hours=1)).isoformat())
    assert replica.request("POST", f"{handler}call/")[0] == 202
    assert replica.request("POST", f"{handler}test/", b'{"body": ""}')[1]["status"] == 202
    bed.clock.move(3601)
    assert replica.request("POST", f"{handler}call/")[0] == 404


def test_a_signed_time_is_held_against_the_shared_clock(bed: StoreBed, replica: Replica) -> None:
    verify = {"preset": "standard-webhooks", "secrets": [f"whsec_{SECRET}"]}
    handler = make(bed, replica, verify=verify)
    timestamp = str(int(bed.clock().timestamp()))
    signed = hmac.digest(base64.b64decode(SECRET), f"m1.{timestamp}.x".encode(), hashlib.sha256)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
    assert replica.request("POST", f"{handler}call/", b"x", headers)[0] == 202
    bed.clock.move(3600)
    assert replica.request("POST", f"{handler}call/", b"x", headers)[0] == 401
