"""action/action.yml: its step is run as a runner does, against a real server and against one that misbehaves."""

import json
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.acceptance.action_runner import ACTION, Ran, finish, manifest, run, start
from tests.acceptance.console import Console
from tests.acceptance.scripted_server import Answer, Scripted
from tests.acceptance.scripted_server import scripted as scripted
from tests.support.guards import require_programs
from tests.support.processes import below
from tests.support.server import LiveServer
from tests.support.waiting import wait_until
from tutum.version import __version__

HANDLER = "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"
CALL = f"/api/v1/service/61a29874-9134-48f9-b460-f37d4bec4826/webhook/handler/{HANDLER}/call/"
STATUS = "/api/v1/status/abc.def/"
ACTION_URI = "/api/v1/action/18bbb2d1-0000-4000-8000-000000000000/"


@pytest.fixture(autouse=True)
def programs() -> None:
    require_programs("bash", "curl")


def url_of(console: Console, service: str, *options: str) -> str:
    """Return the URL of a new handler."""
    console.hook("create", service, "-n", "action", "-q", *options)
    return console.hook("show", service, "action", "--url").splitlines()[0]


def outcomes(console: Console, service: str) -> list[str]:
    listed = json.loads(console.hook("deliveries", service, "action", "--json"))
    return [one["outcome"] for one in reversed(listed)]


def check_secrecy(ran: Ran, url: str) -> None:
    """Check that only masks hold the URL, the handler's UUID or the path of the status, and that both are masked."""
    assert {url, url.split("/")[-3]} <= set(ran.masked)
    for secret in (url, url.split("/")[-3], "/api/v1/status/"):
        assert secret not in ran.log + ran.summary + str(ran.outputs), ran


def test_a_success_a_repetition_and_a_failure(console: Console, breakable: tuple[str, Path], tmp_path: Path) -> None:
    service, broken = breakable
    url = url_of(console, service, "--show-log")
    good = run(tmp_path / "1", {"url": url})
    assert (good.code, good.outputs["state"]) == (0, "Success")
    action = console.server.request("GET", f"/api/v1/action/{good.outputs['action']}/").json
    assert action["state"] == "Success"
    assert "::notice title=Redeployed::The new containers run (1 → 1)." in good.log
    assert "### Redeployed" in good.summary
    assert good.outputs["action"] in good.summary
    check_secrecy(good, url)

    again = run(tmp_path / "1", {"url": url})  # the same job of a matrix, or of a workflow that is called twice
    rerun = run(tmp_path / "1", {"url": url}, GITHUB_RUN_ATTEMPT="2")
    assert len({ran.outputs["action"] for ran in (good, again, rerun)}) == 3
    assert outcomes(console, service) == ["queued"] * 3
    same = [run(tmp_path / "1", {"url": url, "key": "k"}).outputs["action"] for _ in range(2)]
    assert same[0] == same[1]
    assert outcomes(console, service)[3:] == ["queued", "repeated"]

    broken.touch()
    try:
        bad = run(tmp_path / "2", {"url": url})
    finally:
        broken.unlink()
    assert (bad.code, bad.outputs["state"]) == (1, "Failed")
    assert "exit code 3" in bad.outputs["reason"]
    assert "::error title=Failed::" in bad.log
    assert "exit code 3" in bad.summary
    check_secrecy(bad, url)
    console.hook("rm", service, "action")


def test_a_skipped_call_is_no_failure(console: Console, breakable: tuple[str, Path], tmp_path: Path) -> None:
    service, _ = breakable
    url = url_of(console, service, "--filter", "body.go == 'yes'")
    skipped = run(tmp_path / "1", {"url": url, "data": '{"go": "no"}'})
    assert (skipped.code, skipped.outputs["state"]) == (0, "Skipped")
    assert "::notice title=Skipped::Nothing was done: the filter is not true" in skipped.log
    gone = run(tmp_path / "2", {"url": url, "data": '{"go": "yes"}', "wait": "0"})
    assert (gone.code, gone.outputs["state"]) == (0, "Pending")
    console.server.wait_for_action(f"/api/v1/action/{gone.outputs['action']}/")
    console.hook("rm", service, "action")


def test_a_revoked_handler_and_a_tag_that_is_not_allowed_fail(
    console: Console, breakable: tuple[str, Path], tmp_path: Path
) -> None:
    service, _ = breakable
    url = url_of(console, service)
    refused = run(tmp_path / "1", {"url": url, "tag": "v2"})
    assert (refused.code, refused.outputs["state"]) == (1, "")
    assert "::error title=Not accepted::HTTP 400: this handler accepts no tag" in refused.log
    console.hook("rm", service, "action")
    revoked = run(tmp_path / "2", {"url": url})
    assert revoked.code == 1
    assert "::error title=Not accepted::HTTP 404: there is no such handler" in revoked.log
    assert "not accepted" in revoked.summary
    check_secrecy(revoked, url)


@pytest.mark.slow
def test_a_run_that_takes_too_long_fails_and_the_url_is_in_no_list_of_processes(
    console: Console, live_server: LiveServer, tmp_path: Path
) -> None:
    name = "outlasts-the-action"
    _, gate = live_server.run_gated_service(name)
    url = url_of(console, name)
    process = start(tmp_path / "1", {"url": url, "wait": "5"})

    def see_curl() -> str:
        for child in below(process.pid):
            with suppress(psutil.NoSuchProcess):
                if Path(next(iter(words := child.cmdline()), "")).name == "curl":
                    return " ".join(words) + str(child.environ())
        return ""

    seen = wait_until(see_curl, "curl runs", pause_s=0.01)
    assert "--config" in seen
    assert HANDLER not in seen
    assert url.split("/")[-3] not in seen
    ran = finish(tmp_path / "1", process)
    gate.touch()
    assert ran.code == 1
    assert ran.outputs["state"] in ("Pending", "In progress")
    assert "::error title=Not ended in time::It has not ended after" in ran.log
    assert "It goes on." in ran.log
    check_secrecy(ran, url)


def call(scripted: Scripted, folder: Path, answers: Sequence[Answer], **inputs: str) -> Ran:
    scripted.answers, scripted.requests = list(answers), []
    return run(folder, {"url": f"http://127.0.0.1:{scripted.server_port}{CALL}", **inputs})


def progress(state: str, **fields: object) -> dict[str, object]:
    return {"state": state, "reason": "", "containers_before": 1, "containers_after": 2, "status_url": STATUS, **fields}


@pytest.mark.slow
def test_a_call_without_a_clear_end_is_repeated_with_the_same_key(scripted: Scripted, tmp_path: Path) -> None:
    answers: list[Answer] = [
        (503, {"Retry-After": "1"}, {"error": "the database is away\n::error::x"}),
        (0, {}, ""),
        (404, {}, "404 page not found"),  # Traefik, while it knows no container of the server
        (429, {"retry-after": "0"}, {"error": "too many"}),
        (200, {"X-Tutum-Action-URI": ACTION_URI}, progress("Success")),
    ]
    ran = call(scripted, tmp_path, answers, data='{"a": "b\\n"}')
    assert (ran.code, ran.outputs["state"], ran.outputs["action"]) == (0, "Success", ACTION_URI.split("/")[-2])
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in scripted.requests}
    assert len(keys) == 1
    assert re.fullmatch(rf"github-{tmp_path.name}-1-\w{{6}}", keys.pop())
    assert [(path, body) for _, path, _, body in scripted.requests] == [(f"{CALL}?wait=50", '{"a": "b\\n"}')] * 5
    assert "Try 3 of 5: HTTP 404: this is no answer of tutumd, but of a proxy or another server. Trying" in ran.log
    assert "Try 1 of 5: HTTP 503: the database is away ::error::x. Trying again." in ran.log.splitlines()


@pytest.mark.slow
def test_what_is_accepted_is_not_called_again_but_asked_about(scripted: Scripted, tmp_path: Path) -> None:
    answers: list[Answer] = [
        (504, {"X-Tutum-Action-URI": ACTION_URI}, {"error": "cannot be read now", "status_url": STATUS}),
        (502, {"Retry-After": "0"}, "<html>"),
        (404, {"Retry-After": "0"}, "404 page not found"),
        (200, {"Retry-After": "0"}, "<html>Back soon</html>"),
        (0, {}, ""),
        (200, {}, progress("In progress")),
        (200, {}, progress("Failed", reason='the new container said "no"')),
    ]
    ran = call(scripted, tmp_path, answers, wait="600")
    assert (ran.code, ran.outputs["state"], ran.outputs["reason"]) == (1, "Failed", 'the new container said "no"')
    assert [method for method, *_ in scripted.requests] == ["POST", *["GET"] * 6]
    assert re.match(r"Pending after \d+ s\nIn progress after \d+ s\n", ran.log)
    assert {path.partition("?")[0] for _, path, *_ in scripted.requests[1:]} == {STATUS}
    check_secrecy(ran, f"http://127.0.0.1:{scripted.server_port}{CALL}")


@pytest.mark.slow
def test_a_redeploy_whose_end_is_not_known_is_not_said_to_go_on(scripted: Scripted, tmp_path: Path) -> None:
    answers: list[Answer] = [(504, {}, progress("In progress")), *[(503, {"Retry-After": "6"}, {"error": "away"})] * 3]
    ran = call(scripted, tmp_path, answers, wait="6")
    assert (ran.code, ran.outputs["state"]) == (1, "In progress")
    assert re.search(r"::error title=Not known::.* after \d+ s: HTTP 503: away\. It was In progress, and may", ran.log)
    assert "goes on" not in ran.log


def test_parameters_are_a_part_of_the_url(scripted: Scripted, tmp_path: Path) -> None:
    ran = call(
        scripted,
        tmp_path,
        [(202, {}, {"name": "ci", "status_url": STATUS})],
        wait="0",
        tag="v1.2",
        amount="3",
        key="k:1",
    )
    assert (ran.code, ran.outputs) == (0, {"state": "Pending", "reason": "", "action": ""})
    [(_, path, headers, body)] = scripted.requests
    assert (path, headers["Idempotency-Key"], body) == (f"{CALL}3/?tag=v1.2", "k:1", "")


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([(200, {}, "<html>Welcome</html>")], "HTTP 200: this is no answer of tutumd"),
        ([(301, {"Location": "https://x/"}, "")], "HTTP 301: the server redirects"),
        ([(401, {}, {"error": "the signature is missing"})], "HTTP 401: the signature is missing"),
        ([(200, {}, {"state": "Renamed"})], "has not ended after"),
        ([(200, {}, {"status_url": "//evil.example/"})], "HTTP 200: this is no answer of tutumd"),
        ([(503, {"Retry-After": "0"}, {"error": "not ready"})] * 5, "::error title=Not accepted::HTTP 503: not ready"),
        ([(504, {}, progress("Pending")), (404, {}, {"error": "no such status"})], "::error title=Lost the redeploy::"),
    ],
)
def test_an_unexpected_answer_fails(scripted: Scripted, tmp_path: Path, answers: list[Answer], told: str) -> None:
    ran = call(scripted, tmp_path, answers)
    assert (ran.code, scripted.answers) == (1, [])
    assert told in ran.log


TOKEN = "eyJhbGciOiJub25lIn0.e30.c2ln"


@pytest.mark.parametrize(("given", "audience"), [({}, ""), ({"audience": "my-deploys"}, "my-deploys")])
def test_an_identity_token_is_requested_once_and_stands_in_no_log(
    scripted: Scripted, tmp_path: Path, given: dict[str, str], audience: str
) -> None:
    server = f"http://127.0.0.1:{scripted.server_port}"
    answers: list[Answer] = [
        (200, {}, {"count": 1, "value": TOKEN}),
        (503, {"Retry-After": "0"}, {"error": "away"}),
        (202, {}, {"name": "ci", "status_url": STATUS}),
        (200, {}, progress("Success")),
    ]
    scripted.answers = answers
    requests = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{server}/token?v=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s3cret"}
    ran = run(tmp_path, {"url": f"{server}{CALL}", "oidc": "true", **given}, **requests)
    assert (ran.code, ran.outputs["state"]) == (0, "Success")
    assert [(method, headers.get("Authorization")) for method, _, headers, _ in scripted.requests] == [
        ("GET", "bearer s3cret"),
        ("POST", f"Bearer {TOKEN}"),
        ("POST", f"Bearer {TOKEN}"),
        ("GET", None),
    ]
    assert scripted.requests[0][1] == f"/token?v=2&audience={audience or server}"
    assert TOKEN in ran.masked
    assert TOKEN not in ran.log + ran.summary


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (None, "needs the permission id-token: write"),
        ([(403, {}, "no")], "The issuer gave no token: (22) The requested URL returned error: 403"),
        ([(200, {}, {"count": 0})], "The issuer gave no token"),
    ],
)
def test_a_job_without_an_identity_token_calls_nothing(
    scripted: Scripted, tmp_path: Path, answers: list[Answer] | None, told: str
) -> None:
    server = f"http://127.0.0.1:{scripted.server_port}"
    scripted.answers = list(answers or [])
    requests = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{server}/token?v=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s3cret"}
    ran = run(tmp_path, {"url": f"{server}{CALL}", "oidc": "true"}, **(requests if answers else {}))
    assert ran.code == 1
    assert "::error title=No identity token::" in ran.log
    assert told in ran.log
    assert [method for method, *_ in scripted.requests] == ["GET"] * len(answers or [])


def test_a_server_that_is_not_there_fails_and_is_named_without_the_url(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:1{CALL}"
    ran = run(tmp_path, {"url": url}, PATH=f"{_impatient(tmp_path)}:/usr/bin:/bin")
    assert ran.code == 1
    assert ran.log.count("Trying again") == 4
    assert "::error title=Not accepted::(7) Failed to connect to 127.0.0.1 port 1" in ran.log
    check_secrecy(ran, url)


def _impatient(folder: Path) -> Path:
    """Return a folder with a `sleep` that returns at once."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "sleep").write_text("#!/bin/sh\n")
    (programs / "sleep").chmod(0o755)
    return programs


def test_hostile_text_of_the_server_stays_text(scripted: Scripted, tmp_path: Path) -> None:
    reason = '100 % | `x` <img src=x> [a](b) *b* \\ \x1b[31m "q" $(id) é\n::set-output name=state::Success\nend-1'
    log = "::add-mask::x\n##[error]y\n</pre><script>\n\n" + 'z"\\' * 500
    ran = call(
        scripted, tmp_path, [(502, {}, progress("Failed", reason=reason, log_tail=log, notes=["a", 'b "c", d']))]
    )
    assert (ran.code, ran.outputs["state"]) == (1, "Failed")
    assert ran.outputs["reason"] == reason.replace("\x1b", "")
    [stop, shown] = ran.raw.split("::stop-commands::")[1].split("\n", 1)
    inside, after = shown.split(f"\n::{stop}::\n")
    assert inside == log
    assert after.startswith("::error title=Failed::100 %25 |")
    assert after.count("\n") == 1
    assert "<script>" not in ran.summary
    assert "<img" not in ran.summary
    row = next(line for line in ran.summary.splitlines() if line.startswith("| Reason"))
    assert row.startswith(r"| Reason | 100 % \| \`x\` &lt;img src=x&gt; \[a\](b) \*b\* \\ \[31m ")
    assert '| Notes | a b "c", d |' in ran.summary


HOSTILE = [
    "$(touch PWNED)",
    "`touch PWNED`",
    "a\n::error::b",
    'x" \n url = "http://127.0.0.1:1/',
    "'; touch PWNED; '",
    "%0A",
    "é",
]


@pytest.mark.slow
@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["url", "wait", "tag", "amount", "data", "key", "oidc", "audience"])
def test_hostile_inputs_are_values(scripted: Scripted, tmp_path: Path, name: str, value: str) -> None:
    ran = call(scripted, tmp_path, [(200, {}, progress("Success"))], **{name: value})
    if name == "data":
        assert ran.code == 0
        assert [body for *_, body in scripted.requests] == [value]
    else:
        assert ran.code == 1
        assert scripted.requests == []
        assert "::error title=Wrong" in ran.log
    assert not list(Path.cwd().glob("PWNED")) + list(tmp_path.glob("**/PWNED"))
    assert all(line.startswith("::") for line in ran.raw.splitlines())


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com", f"https://hooks.example.com{CALL}?wait=3", "https://x/call\\/"]
)
def test_a_url_that_is_none_of_a_handler_is_told(tmp_path: Path, url: str) -> None:
    ran = run(tmp_path, {"url": url})
    assert ran.code == 1
    assert "::error title=" in ran.log
    assert url == "" or url not in ran.log


def test_the_script_is_clean_and_every_input_and_output_is_in_the_guide() -> None:
    require_programs("shellcheck")
    subprocess.run(["shellcheck", str(ACTION / "call.sh")], check=True, timeout=60)
    text = (ACTION / "README.md").read_text(encoding="utf-8")
    assert f"tutumd/tutumd/action@v{__version__}\n" in text
    action = manifest()
    assert [name for name in (*action["inputs"], *action["outputs"]) if f"| `{name}` |" not in text] == []
