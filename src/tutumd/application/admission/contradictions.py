"""Options of a handler that no call can satisfy."""

from itertools import pairwise

from tutumd.application.admission.fields import HandlerOptions
from tutumd.application.admission.json_checks import quote

_GLOB_KINDS = ("branch", "tag", "paths")
_WILDCARDS = frozenset("*?[")


def find_contradictions(options: HandlerOptions) -> dict[str, str]:
    """Return why no call, or none that is meant, can ever count: a sentence for each field to change."""
    globs = [(each.kind, glob) for each in options.filter for glob in each.patterns if each.kind in _GLOB_KINDS]
    allowed = [("allow", glob) for glob in (options.tag.allow if options.tag else ())]
    problems = {
        field: problem
        for field, known in (("filter", globs), ("tag", allowed))
        for kind, glob in reversed(known)
        if (problem := _judge_glob(f"{field}.{kind}", glob))
    }
    # Only Bitbucket reports several branches and tags, which were pushed together, in one call.
    if options.verify is None or options.verify.preset != "bitbucket":
        problem = _compare_filters(options)
        problems |= {"filter": problem} if problem else {}
    return problems


def _judge_glob(name: str, glob: str) -> str:
    if {"{", "}"} & {*glob} and ("," in glob or glob.count("{") != glob.count("}")):
        return f"{name}: braces have no meaning in {quote(glob)}. Write a glob for each alternative"
    if not name.endswith(".paths") and any(char == "," or char.isspace() for char in glob):
        return (
            f"{name}: {quote(glob)} matches nothing, because names of branches and tags have no spaces and no commas."
            " Write several globs with commas between them, or as a list"
        )
    return ""


def _compare_filters(options: HandlerOptions) -> str:
    branches = [frozenset(each.patterns) for each in options.filter if each.kind == "branch"]
    if branches and any(each.kind == "tag" for each in options.filter):
        return (
            "filter has a branch and a tag, but a push is of a branch or of a tag, so no call would ever count."
            " Create one handler for the branch and another one for the tag"
        )
    if any(not one & two and not _WILDCARDS & set("".join(one | two)) for one, two in pairwise(branches)):
        return (
            "filter has two lists of branches that have no branch in common, so no call would ever count."
            " Put all branches into one list"
        )
    return ""
