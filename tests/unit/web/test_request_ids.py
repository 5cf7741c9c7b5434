"""IDs of requests: those that were sent are used, unless they do not belong into a log."""

import pytest

from tutumd.web.access_log import HEADER, choose, parse

HANDLER = "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"
HEX = HANDLER.replace("-", "")
PATH = f"/api/v1/service/e192a3b1-af8e-46cc-a9d9-1ce8f4b12d5f/webhook/handler/{HANDLER}/call/"


@pytest.mark.parametrize("sent", [b"a", b"4bf92f35-77b3_4da6.x", b"x" * 128])
def test_a_plain_id_is_used(sent: bytes) -> None:
    assert choose(parse([(b"host", b"h"), (HEADER, sent)]), PATH) == sent


@pytest.mark.parametrize("sent", [b"", b"a b", b"a\nb", b"\xe9", b"x" * 129, b"a=b", b'"', b"\x1b[31m"])
def test_what_could_disturb_a_log_is_not_used(sent: bytes) -> None:
    assert parse([(HEADER, sent)]) is None


def test_of_two_ids_none_is_used() -> None:
    assert parse([(HEADER, b"a"), (HEADER, b"b")]) is None


@pytest.mark.parametrize("sent", [HANDLER, HANDLER.upper(), f"call-{HANDLER}.1", HEX, f"{HEX[:16]}-{HEX[16:]}"])
@pytest.mark.parametrize("path", [PATH, PATH.upper(), f"//x/{HANDLER}", PATH.replace(HANDLER, HEX)])
def test_a_secret_of_the_path_is_no_id(sent: str, path: str) -> None:
    made = choose(parse([(HEADER, sent.encode())]), path)
    assert HEX not in made.decode().lower().replace("-", "")


def test_each_request_without_an_id_gets_another_one() -> None:
    assert len({choose(None, PATH) for _ in range(100)}) == 100
