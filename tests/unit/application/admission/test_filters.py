"""Which calls count."""

import json
from functools import partial
from typing import Any

import pytest

from tests.support.work import work_of
from tests.unit.application.admission.calls import evaluation, payload, received, text_of
from tutumd.application.admission.evaluate import Verdict, VerdictKind
from tutumd.application.admission.expressions import Budget
from tutumd.application.admission.filters import matches_path, parse_filters
from tutumd.errors import InvalidInputError


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("github-push", {"preset": "branch", "branch": "main"}),
        ("github-push", {"preset": "branch", "branch": ["release/*", "ma*"]}),
        ("github-push", {"preset": "branch", "branch": "refs/heads/main"}),
        ("github-push-tag", {"preset": "tag", "tag": "refs/tags/v1.2.0"}),
        ("gitea-push", {"preset": "branch", "branch": "develop"}),
        ("bitbucket-push", {"preset": "branch", "branch": "master"}),
        ("github-push-tag", {"preset": "tag", "tag": "v1.*"}),
        ("dockerhub", {"preset": "tag", "tag": "latest"}),
        ("harbor-push", {"preset": "tag", "tag": "v1.0", "repository": "library/*"}),
        ("distribution-push", {"preset": "tag", "tag": "v3", "repository": "team/app"}),
        ("azure-push", {"preset": "tag", "tag": ["latest", "v1"]}),
        ("github-push", {"preset": "paths", "paths": ["src/**"]}),
        ("gitlab-push", {"preset": "paths", "paths": ["docs/*.md"]}),
        ("gitlab-push-many", {"preset": "paths", "paths": ["nowhere/**"]}),  # may hold it: better once too often
        ("bitbucket-push", {"preset": "paths", "paths": ["nowhere/**"]}),
        ("gitea-push", {"preset": "paths", "paths": ["**/compose.yml"]}),
        ("github-push", {"preset": "skip"}),
        ("dockerhub", {"preset": "skip"}),
        ("github-push", "body.ref == 'refs/heads/main' && !(body.deleted)"),
        ("github-push", "headers.\"x-github-event\" == 'push'"),
        ("github-push", "body.commits[?contains(modified, 'src/app/main.py')]"),
        ("alertmanager-firing", "body.status == 'firing'"),
        ("github-push", ["body.ref", {"preset": "branch", "branch": "main"}, {"preset": "skip"}]),
        ("github-push", "length(`[]`) || body.created == `false`"),  # 0 is true in JMESPath
    ],
)
def test_a_match_is_admitted(name: str, condition: object) -> None:
    assert evaluation(payload(name), filter=condition) == Verdict()


@pytest.mark.parametrize(
    ("name", "condition", "reason"),
    [
        ("github-push", {"preset": "branch", "branch": "dev"}, "branch 'main' is not 'dev'"),
        ("github-push", {"preset": "branch", "branch": "Main"}, "branch 'main' is not 'Main'"),
        ("github-push-tag", {"preset": "branch", "branch": "*"}, "no pushed branch"),
        ("github-pull-request", {"preset": "branch", "branch": "*"}, "event 'pull_request'"),
        ("dockerhub", {"preset": "branch", "branch": "*"}, "no pushed branch"),
        ("dockerhub", {"preset": "tag", "tag": "v*"}, "tag 'latest' is not 'v*'"),
        ("ghcr-untagged", {"preset": "tag", "tag": "*"}, "no pushed tag"),
        ("distribution-push", {"preset": "tag", "tag": "*", "repository": "other/app"}, "repository 'other/app'"),
        ("distribution-mixed", {"preset": "tag", "tag": "v9"}, "tag 'v3' is not 'v9'"),
        ("distribution-pull", {"preset": "tag", "tag": "*"}, "nothing was pushed"),
        ("distribution-pull", "body.events", "nothing was pushed"),
        ("github-push", {"preset": "paths", "paths": ["docs/**", "*.md"]}, "none of 1 changed files"),
        ("dockerhub", {"preset": "paths", "paths": ["**"]}, "not a push of commits"),
        ("github-push-skip", {"preset": "skip"}, "has [skip deploy]"),
        ("github-push-skip", {"preset": "skip", "marker": "TYPO"}, "has TYPO"),
        ("github-push-skip", [{"preset": "branch", "branch": "main"}, {"preset": "skip"}], "has [skip deploy]"),
        ("github-push", "body.deleted", "not true"),
        ("github-push", "query.really", "not true"),
        ("alertmanager-resolved", "body.status == 'firing'", "not true"),
        ("github-push", "sum(body.ref) > `1`", "could not be evaluated"),
        ("github-push", "body.ref < `1`", "could not be evaluated"),
        ("github-push", "body.commits[::0]", "could not be evaluated"),
        ("github-ping", "body", "it is a ping"),
        ("github-push-deleted", {"preset": "branch", "branch": "*"}, "branch 'old' was deleted"),
    ],
)
def test_a_miss_is_skipped_with_the_reason(name: str, condition: object, reason: str) -> None:
    verdict = evaluation(payload(name), filter=condition)
    assert verdict.kind is VerdictKind.SKIPPED
    assert reason in text_of(verdict)


def test_a_filter_sees_the_query_and_no_secret() -> None:
    call = received(b"", [("X-Thing", "1"), ("X-Thing", "2"), ("Cookie", "c")], query=[("really", "yes")])
    assert evaluation(call, filter="query.really == 'yes' && headers.\"x-thing\" == '1, 2' && !(body)") == Verdict()
    assert evaluation(call, filter="contains(keys(headers), 'cookie')").kind is VerdictKind.SKIPPED


def test_reasons_hold_nothing_of_the_payload_but_the_name_of_the_ref() -> None:
    call = payload("github-push")
    for condition in ("body.commits[0].message == 'x'", "sum(body.commits)", {"preset": "paths", "paths": ["x"]}):
        verdict = evaluation(call, filter=condition)
        assert verdict.kind is VerdictKind.SKIPPED
        text = text_of(verdict)
        assert "new page" not in text
        assert "main.py" not in text
        assert len(text) < 200


@pytest.mark.parametrize(
    ("path", "glob", "is_match"),
    [
        ("a.py", "*.py", True),
        ("src/a.py", "*.py", False),
        ("src/a.py", "**/*.py", True),
        ("a.py", "**/*.py", True),
        ("src/b/c/a.py", "src/**", True),
        ("src", "src/**", True),
        ("src/b/c/a.py", "src/**/a.py", True),
        ("src/a.py", "src/**/a.py", True),
        ("src/a.py", "src/*/a.py", False),
        ("lib/src/a.py", "src/**", False),
        ("src/a.py", "src", False),
        ("src/a.py", "src/a.p", False),
        ("", "**", True),
        ("a/b", "**/**/b", True),
        ("A/b", "a/b", False),
    ],
)
def test_globs_of_paths(path: str, glob: str, is_match: bool) -> None:
    assert matches_path(path, glob, Budget()) is is_match


def test_a_hostile_payload_takes_no_time() -> None:
    globs = ["*a" * 95 + str(number) for number in range(20)]
    names = ["a" * 900] * 1200
    bodies = [
        {"ref": "refs/heads/" + "a" * 1_000_000},
        {"updated_tags": ["a" * 10] * 80_000, "repository": "a" * 100_000},
        {"ref": "refs/heads/a", "commits": [{"modified": names + [f"a/{number}" for number in range(60_000)]}]},
        {"ref": "refs/heads/a", "commits": [{"modified": ["a" * 15 + str(number) for number in range(4_900)]}]},
    ]
    for preset in ("branch", "tag", "paths"):
        extra = {"repository": "*a*a*a*b"} if preset == "tag" else {}
        for body in bodies:
            call = received(json.dumps(body).encode())
            assert work_of(partial(evaluation, call, filter={"preset": preset, preset: globs, **extra})) < 2000


@pytest.mark.parametrize(
    ("condition", "body"),
    [
        (
            {"preset": "paths", "paths": ["**/" + "*/" * 80 + f"b{number}" for number in range(20)]},
            {"ref": "refs/heads/a", "commits": [{"modified": ["a/" * 100 + str(number) for number in range(50)]}]},
        ),
        (
            {"preset": "branch", "branch": ["*" + "[ab]" * 48 + f"c{number}" for number in range(50)]},
            {"push": {"changes": [{"new": {"type": "branch", "name": "ab" * 450 + str(n)}} for n in range(1000)]}},
        ),
    ],
)
def test_hostile_globs_share_one_bound_of_time(condition: dict[str, Any], body: dict[str, Any]) -> None:
    call = received(json.dumps(body).encode(), [("X-Event-Key", "repo:push")] if "push" in body else [])
    verdict = evaluation(call, filter=[condition] * 10)
    assert work_of(partial(evaluation, call, filter=[condition] * 10)) < 3000
    assert verdict.kind is VerdictKind.SKIPPED
    assert "it takes too long" in text_of(verdict)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "JMESPath"),
        ("", "1 to 2000"),
        ([], "1 to 10"),
        ({}, "filter.preset"),
        ({"preset": "colour"}, "branch, tag, paths, skip"),
        ({"preset": "branch"}, "filter.branch"),
        ({"preset": "branch", "branch": []}, "filter.branch"),
        ({"preset": "branch", "branches": "main"}, "no field 'branches'"),
        ({"preset": "branch", "branch": "main", "repository": "x"}, "no field 'repository'"),
        ({"preset": "skip", "marker": ""}, "filter.marker"),
        ({"preset": "tag", "tag": "v*", "repository": 1}, "filter.repository"),
        ([{"preset": "skip"}, "nonsense("], "not a JMESPath"),
        (["body.a", "body.b"], "join several with &&"),
        ({"preset": "paths", "paths": [str(number) for number in range(21)]}, "at most 20"),
    ],
)
def test_an_invalid_filter_is_refused_when_it_is_saved(value: object, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        parse_filters(value)
