"""The part of docs/reference/sdk.md that `script/generate` writes: classes and functions with their docstrings."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import tutum

_ATTRIBUTE = re.compile(r"^    ([a-z][\w, ]*): (.+(?:\n     .+)*)", re.MULTILINE)


def sdk_tables(_page: str) -> str:
    """Return a section for each class, its base classes first, for the errors, and for the module `tutum.auth`."""
    exported = [getattr(tutum, name) for name in tutum.__all__]
    classes = [each for each in exported if isinstance(each, type)]
    errors = [each for each in classes if issubclass(each, Exception)]
    shown = dict.fromkeys(
        base for each in classes if each not in errors for base in reversed(each.__mro__) if _is_ours(base)
    )
    functions = [each for _, each in inspect.getmembers(tutum.auth, inspect.isfunction) if _is_ours(each)]
    parts = ["\n".join(_section(each)) for each in shown if list(_members(each)) or list(_attributes(each))]
    parts.append("\n".join(["## Errors", "", *_table((each.__name__, _summary(each)) for each in errors)]))
    of_auth = [
        (f"{each.__name__}{_arguments(each)}", _summary(each)) for each in functions if each.__module__ == "tutum.auth"
    ]
    parts.append("\n".join(["## tutum.auth", "", *_table(of_auth)]))
    return "\n" + "\n\n".join(parts) + "\n\n"


def _section(kind: type) -> Iterator[str]:
    bases = [f"[`{base.__name__}`](#{base.__name__.lower()})" for base in kind.__bases__ if _is_ours(base)]
    yield f"## {kind.__name__}"
    yield ""
    yield _summary(kind) + (f" It also has all of {', '.join(bases)}." if bases else "")
    yield ""
    yield from _table([*_attributes(kind), *_members(kind)])


def _table(rows: Any) -> Iterator[str]:
    yield "| Name | Meaning |"
    yield "| --- | --- |"
    for name, meaning in rows:
        yield f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |"


def _attributes(kind: type) -> Iterator[tuple[str, str]]:
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    for names, meaning in _ATTRIBUTE.findall(section):
        yield "`, `".join(names.split(", ")), " ".join(meaning.split())


def _members(kind: type) -> Iterator[tuple[str, str]]:
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield name, _summary(member)
        elif isinstance(member, classmethod | staticmethod):
            yield f"{kind.__name__}.{name}{_arguments(member.__func__)}", _summary(member.__func__)
        elif inspect.isfunction(member):
            yield f"{name}{_arguments(member)}", _summary(member)


def _arguments(function: Any) -> str:
    """Return the arguments as a caller writes them: without types, `self` and `cls`."""
    shown, is_keyword = [], False
    for each in inspect.signature(function).parameters.values():
        if each.name in ("self", "cls"):
            continue
        if each.kind is each.KEYWORD_ONLY and not is_keyword:
            shown.append("*")
        is_keyword |= each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        stars = "*" * (each.kind is each.VAR_POSITIONAL) + "**" * (each.kind is each.VAR_KEYWORD)
        shown.append(stars + each.name + ("" if each.default is each.empty else f"={each.default!r}"))
    return f"({', '.join(shown)})"


def _summary(documented: Any) -> str:
    return " ".join(inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0].split())


def _is_ours(member: Any) -> bool:
    return member.__module__.startswith("tutum.") and not member.__name__.startswith("_")
