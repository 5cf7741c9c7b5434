"""Options of a handler that no call can satisfy."""

from tutumd.application.admission.fields import HandlerOptions
from tutumd.application.admission.json_checks import quote

_BOTH = (
    "filter has a branch and a tag, but a push is of a branch or of a tag, so no call would ever count."
    " Create one handler for the branch and another one for the tag"
)


def find_contradictions(options: HandlerOptions) -> dict[str, str]:
    """Return why no call, or none that is meant, can ever count: a sentence for each field to change."""
    globs = [("filter", each.kind, glob) for each in options.filter for glob in each.patterns]
    globs += [("tag", "allow", glob) for glob in (options.tag.allow if options.tag else ())]
    problems = {field: problem for field, kind, glob in globs if (problem := _judge_glob(field, kind, glob))}
    # Only Bitbucket reports several branches and tags, which were pushed together, in one call.
    is_bitbucket = options.verify is not None and options.verify.preset == "bitbucket"
    if {"branch", "tag"} <= {each.kind for each in options.filter} and not is_bitbucket:
        problems["filter"] = _BOTH
    return problems


def _judge_glob(field: str, kind: str, glob: str) -> str:
    has_braces = {"{", "}"} & {*glob} and ("," in glob or glob.count("{") != glob.count("}"))
    if kind in ("branch", "tag", "allow", "paths") and has_braces:
        return f"{field}.{kind}: braces have no meaning in {quote(glob)}. Write a glob for each alternative"
    if kind in ("branch", "tag", "allow") and any(char == "," or char.isspace() for char in glob):
        return (
            f"{field}.{kind}: {quote(glob)} matches nothing, because names of branches and tags have no spaces and no"
            " commas. Write several globs with commas between them, or as a list"
        )
    return ""
