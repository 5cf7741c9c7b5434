"""Code in texts of ours, on pages."""

import pytest

from tutumd.web.pages.formats import code_spans


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("set `a` and `b`.", "set <code>a</code> and <code>b</code>."),
        ("`<b>` & <i>", "<code>&lt;b&gt;</code> &amp; &lt;i&gt;"),
        ("one ` alone", "one ` alone"),
        ("`a` and ` alone", "<code>a</code> and ` alone"),
    ],
)
def test_code_is_marked_up_and_everything_stays_text(text: str, html: str) -> None:
    assert str(code_spans(text)) == html
