"""Random handlers that the server accepts, with each field in each of its forms."""

from typing import Any

from hypothesis import strategies as st

from tutumd.application.admission.json_checks import join_texts

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(str.strip)
_USUAL = st.sampled_from(["main", "release/*", "refs/heads/x", "v*", 'a"b\\c'])
_GLOBS = st.one_of(_USUAL, _TEXT.filter(lambda text: text.strip() and not {"{", "}"} & {*text}))
_NAME_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="{},")
_NAME_GLOBS = st.one_of(_USUAL, st.text(_NAME_CHARACTERS, min_size=1, max_size=30))
_SECRETS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60).filter(str.isprintable)
_EXPRESSIONS = st.sampled_from(
    ["body.ref == 'refs/heads/main'", 'body."a b" && !(body.deleted)', "headers.\"x-é\" == 'ü\\\\'", "query.x"]
)
_HEADERS = st.sampled_from(["X-Token", "X-Signature"])


def _lists(globs: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    lists = st.lists(globs, min_size=1, max_size=5)
    return st.one_of(lists, lists.map(join_texts))


def _verify() -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(_SECRETS, min_size=1, max_size=5, unique=True)
    plain = st.sampled_from(["github", "gitea", "forgejo", "bitbucket", "gitlab", "token"])
    hmac = {"algorithm": st.sampled_from(["sha1", "sha256", "sha512"]), "encoding": st.sampled_from(["hex", "base64"])}
    return st.one_of(
        st.fixed_dictionaries({"preset": plain, "secrets": several}),
        st.fixed_dictionaries({"preset": st.just("token"), "header": _HEADERS, "secrets": several}),
        st.fixed_dictionaries(
            {"preset": st.just("hmac"), "header": _HEADERS, "secrets": several},
            optional=hmac | {"prefix": st.sampled_from(["sha256=", "v1,"])},
        ),
        st.fixed_dictionaries(
            {
                "preset": st.just("oidc"),
                "issuer": st.sampled_from(["github", "https://token.actions.githubusercontent.com"]),
                "claims": st.dictionaries(_NAMES.map(str.strip), _lists(_GLOBS), max_size=5).map(
                    lambda claims: claims | {"repository": "me/*"}
                ),
            },
            optional={"audience": st.just("https://tutum.example.com")},
        ),
        st.just({"preset": "standard-webhooks", "secrets": ["whsec_" + "QUJD" * 8, "whsec_" + "REVG" * 8]}),
    )


def _filters() -> st.SearchStrategy[Any]:
    presets = st.one_of(
        st.fixed_dictionaries({"preset": st.just("branch"), "branch": _lists(_NAME_GLOBS)}),
        st.fixed_dictionaries({"preset": st.just("tag"), "tag": _lists(_NAME_GLOBS)}, optional={"repository": _GLOBS}),
        st.fixed_dictionaries({"preset": st.just("paths"), "paths": _lists(_GLOBS)}),
        st.fixed_dictionaries({"preset": st.just("skip")}, optional={"marker": _TEXT.filter(str.strip)}),
    )
    several = st.tuples(st.lists(presets, max_size=5), st.lists(_EXPRESSIONS, min_size=1, max_size=1)).map(
        lambda pair: _without_contradictions(pair[0]) + pair[1]
    )
    return st.one_of(_EXPRESSIONS, presets, several)


def _without_contradictions(filters: list[Any]) -> list[Any]:
    """Return the filters without a second one of branches or tags: the server refuses those that exclude each other."""
    named = [each for each in filters if each["preset"] in ("branch", "tag")]
    return [each for each in filters if each not in named[1:]]


_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "enabled": st.booleans(),
    "expires_datetime": st.sampled_from(
        ["2099-01-31", "2099-01-31T12:00:00.123456+02:00", "Fri, 30 Jan 2099 11:01:43 +0000", "2099-06-01T00:00:00Z"]
    ),
    "max_uses": st.integers(1, 1_000_000_000),
    "verify": _verify(),
    "filter": _filters(),
    "rate_limit": st.builds(
        "{}/{}".format, st.integers(1, 999_999), st.sampled_from(["second", "minute", "hour", "day"])
    ),
    "allow_from": st.lists(
        st.sampled_from(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:10.1.0.0/112", "::1"]), min_size=1
    ),
    "debounce": st.integers(0, 3600),
    "show_log": st.booleans(),
}
_TAG = st.fixed_dictionaries(
    {"allow": _lists(_NAME_GLOBS)}, optional={"from": st.one_of(st.just("query"), _EXPRESSIONS)}
)
_OF_REDEPLOY = {
    "tag": _TAG,
    "pass_body": st.one_of(st.booleans(), st.just("TUTUM_BODY")),
    "skip_unchanged": st.booleans(),
}


def handlers() -> st.SearchStrategy[dict[str, Any]]:
    """Return documents to create handlers from: a name, an operation, and any fields."""
    redeploy = {"name": _NAMES, "operation": st.just("REDEPLOY")}
    scale_up = {"name": _NAMES, "operation": st.just("SCALEUP")}
    return st.one_of(
        st.fixed_dictionaries(redeploy, optional=_FIELDS | _OF_REDEPLOY),
        st.fixed_dictionaries(scale_up, optional=_FIELDS | {"max_containers": st.integers(1, 10_000)}),
    )
