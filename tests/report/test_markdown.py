"""Text from data in Markdown: what a renderer shows is the text, and nothing in it is markup."""

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from tuneproof.report.markdown import JOINER, escape, markdown_table
from tuneproof.report.tables import Table

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    *(
        "p < 0.001",
        "a<b",
        "<script>alert(1)</script>",
        "<!-- x",
        "</td>",
        "<?php",
        "<https://e.org>",
        "a > b",
    ),
    *("&lt;b&gt;", "R&D", "&amp;amp;", "&#60;i&#62;", "&nosuch;", "a|b||c", "\\|", "`code`", "``a`b``"),
    *("*bold*", "**a**", "__a__", "snake_case_name", "~~gone~~", "$x^2$", "{{ 7 * 7 }}"),
    *("[x](javascript:alert(1))", "![x](data:image/png;base64,AA)", "[x][y]", "[1](javascript:0)", "[1] (x)"),
    *("[1.2, 3.4](javascript:0)", "[1]: https://e.org", "[^1]", "[x] done", "[!NOTE]", "+2.0 [−1.2, +3.4]"),
    *(
        "- item",
        "+ item",
        "* item",
        "1. one",
        "2) two",
        "> quote",
        ">quote",
        "# title",
        "---",
        "===",
        "=",
        "-",
    ),
    *(
        "-5 points",
        "+5",
        "3.5 points",
        "#12",
        "@someone",
        "a@b.org",
        "mailto:a@b.org",
        "https://e.org",
        "www.e.org",
    ),
    *("two\nlines\n\nand | more", "\ttab", "    code", "a\\", "\\*a\\*", "ends with \\"),
]


def shown(html: str) -> str:
    """What a page shows of it."""
    return unescape(re.sub(r"<[^>]*>", "", html)).replace(JOINER, "").strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_and_no_markup(text: str) -> None:
    plain, escaped = " ".join(text.split()), escape(text)
    assert "\n" not in escaped
    for before, tags in (
        ("", "p"),
        ("- ", "ul li"),
        ("# ", "h1"),
        ("**Take.** ", "p strong"),
        ("> ", "blockquote p"),
    ):
        html = RENDERER.render(f"{before}{escaped}\n")
        assert shown(html).removeprefix("Take. ") == plain
        assert set(re.findall(r"<(\w+)", html)) <= set(tags.split())
    html = RENDERER.render(markdown_table(Table((text, "b"), ((text, "c"),), (False, True))))
    assert re.findall(r"<(\w+)", html) == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert [shown(cell) for cell in re.findall(r"<t[dh] .*?>(.*?)</t[dh]>", html)] == [plain, "b", plain, "c"]


def test_numbers_stay_readable_in_the_file() -> None:
    for text in (
        "p < 0.001",
        "86.7 [82.4, 90.1]",
        "+24.0 [+18.0, −30.0]",
        "R&D",
        "−5.7 to +1 > 0",
        "86 : 14",
    ):
        assert escape(text) == text


def test_no_address_or_name_becomes_a_link_or_a_mention() -> None:
    for text in ("https://e.org", "www.e.org", "a@b.org", "@someone"):
        assert JOINER in escape(text)
