"""The file of `tutum apply`: what is read of it, and what is said of mistakes. No text quotes a secret."""

import pytest

from tutum.cli.handler_file import HandlerFileError, read_handler_file

_SERVICE = '[[service]]\nname = "shop/web"\n'


def problems(text: str, **variables: str) -> list[str]:
    with pytest.raises(HandlerFileError) as raised:
        read_handler_file(text, "h.toml", variables)
    return list(raised.value.args)


def handler(lines: str) -> str:
    return f'{_SERVICE}[[service.handler]]\nname = "ci"\n{lines}\n'


def test_a_file_is_read_with_the_secrets_of_its_variables() -> None:
    text = handler(
        'verify = {preset = "github", secrets = ["${A}", "${B_2}"]}\nexpires_datetime = 2099-01-31T12:00:00Z'
    )
    [service], *_ = read_handler_file(
        text + '[[service.handler]]\nname = "b"\noperation = "scaleup"', "h.toml", {"A": "x", "B_2": "y"}
    )
    first, second = service.handlers
    assert (service.body["name"], first.place) == ("shop/web", "h.toml:3: ci of shop/web")
    assert first.body["verify"] == {"preset": "github", "secrets": ["x", "y"]}
    assert first.body["expires_datetime"] == "2099-01-31T12:00:00+00:00"
    assert (first.body["operation"], second.body) == ("REDEPLOY", {"name": "b", "operation": "SCALEUP"})
    assert "'x'" not in repr(service)


def test_unknown_fields_are_named_with_their_line_and_the_nearest_known_one() -> None:
    told = problems(handler("debounc = 5\nmax_use = 5"))
    assert told == [
        "h.toml:3: ci of shop/web: unknown field 'debounc': did you mean debounce?",
        "h.toml:3: ci of shop/web: unknown field 'max_use': did you mean max_uses?",
    ]


def test_values_that_json_does_not_know_are_read_as_texts() -> None:
    [service], *_ = read_handler_file(
        handler("debounce = nan\ntag = {allow = 2020-01-01}\nmax_uses = 08:30:00"), "h", {}
    )
    assert service.handlers[0].body.items() > {"debounce": "NaN", "max_uses": "08:30:00"}.items()
    assert service.handlers[0].body["tag"] == {"allow": "2020-01-01"}


@pytest.mark.parametrize(
    "verify",
    [
        "'s3cret'",
        "{preset = 'github', secrets = 's3cret'}",
        "{preset = 'github', secrets = ['${A}', 's3cret']}",
        "{preset = 'github', secrets = 'x-${A}-s3cret'}",
        "{preset = 'github', secrets = {a = 's3cret'}}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_quoted(verify: str) -> None:
    told = problems(handler(f"verify = {verify}"), A="s3cret-of-a-variable")
    assert told
    assert "s3cret" not in "".join(told)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000, "1\n" + "a." * 5000 + "b = 1"])
def test_toml_that_python_cannot_hold_is_told_as_well(value: str) -> None:
    assert problems(handler(f"max_uses = {value}"))[0].startswith("h.toml: this is not TOML: ")


def test_a_file_of_windows_is_read() -> None:
    text = "\ufeff" + handler("debounce = 5").replace("\n", "\r\n")
    assert read_handler_file(text, "h.toml", {})[0][0].handlers[0].body["debounce"] == 5


def test_all_missing_variables_are_told_at_once() -> None:
    told = problems(handler("verify = {preset = 'github', secrets = ['${A}', '${B}', '${C}']}"), A="", B="b")
    assert [line.partition("variable ")[2][:1] for line in told] == ["A", "C"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[service", "h.toml: this is not TOML: "),
        ('[service]\nname = "web"', "h.toml: service must be written as [[service]], with two brackets"),
        ('[[services]]\nname = "web"', "h.toml: unknown field 'services': did you mean service?"),
        ("[[service]]\nnam = 'web'", "h.toml:1: a service: unknown field 'nam': did you mean name?"),
        ("[[service]]\nnam = 'web'", 'h.toml:1: a service lacks its name, as in name = "web"'),
        (f"{_SERVICE}[[service.handler]]", 'h.toml:3: a handler of shop/web lacks its name, as in name = "web"'),
        (handler("") + handler("").removeprefix(_SERVICE), "h.toml:6: ci of shop/web: stands in the file twice"),
        (
            f"{_SERVICE}[service.handler]\nname = 'x'",
            "h.toml:1: shop/web: handler must be written as [[service.handler]]",
        ),
        (f"{_SERVICE}engine = 5", "h.toml:1: shop/web lacks its engine"),
        ("service = 5", "h.toml: service must be written as [[service]]"),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in problems(text)), problems(text)


def test_lines_are_left_out_where_they_are_not_known() -> None:
    text = 'service = [{name = "web", handler = [{name = "ci", debounc = 1}]}]'
    assert problems(text) == ["h.toml: ci of web: unknown field 'debounc': did you mean debounce?"]
