"""Foreign words are shown as they are: no markup, no HTML, no link, no second line, in Markdown
and in YAML.
"""

import html
import re
from dataclasses import asdict

import pytest
import yaml
from markdown_it import MarkdownIt

from dcr.evaluation.comparison import Estimate
from dcr.export.card import model_card
from dcr.pages.markdown import code, code_cell, text

CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "apache-2.0"}
HOSTILE = [
    "plain words",
    "snake_case_name/split",
    "a | b",
    "a\nb",
    "a\r\n\r\n# heading",
    "\n---\nlicense: mit\n---\n",
    "`code`",
    "``",
    "``` sh",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp; &#124;",
    "*bold* __bold__ _i_ ~~gone~~",
    "[link](https://example.org)",
    "![image](https://example.org/a.png)",
    "https://example.org/a",
    "www.example.org",
    "# heading",
    "back\\slash \\| \\",
    "| --- | --- |",
    "\u2028line\x00\x1b[31mred\u202eesrever",
    "$x^2$",
    "{{ template }} {% block %}",
    "'quotes' \"double\"",
    "- list",
    "1. list",
    "",
]


def shown(words):
    """What a reader should see: the words on one line, without what cannot be printed."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())


def render(markdown):
    return (
        MarkdownIt("commonmark", {"html": True, "linkify": False})
        .enable(["table", "strikethrough"])
        .render(markdown)
    )


def words_of(fragment):
    return html.unescape(re.sub(r"<[^>]*>", "", fragment)).strip()


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize(
    ("escape", "tags"), [(text, set()), (code, {"code"}), (code_cell, {"code"})]
)
def test_a_cell_of_a_table_shows_the_words_and_nothing_else(words, escape, tags):
    if escape is code:
        fragment = (
            render(f"before {escape(words)} after").removeprefix("<p>").removesuffix("</p>\n")
        )
        assert words_of(fragment).split() == f"before {shown(words)} after".split()
    else:
        page = render(f"| name | value |\n|---|---|\n| {escape(words)} | 1 |\n")
        cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
        assert len(cells) == 2
        fragment = cells[0]
        assert words_of(fragment) == shown(words)
    assert set(re.findall(r"<(\w+)", fragment)) <= tags


@pytest.mark.parametrize("words", [words for words in HOSTILE if words])
def test_a_card_made_of_foreign_names_keeps_its_form(words):
    def card(name):
        return model_card(
            {
                **dict.fromkeys(CARD, name),
                "base_revision": name,
                "tuning": name,
                "scores": {name: {name: {name: 0.5}}},
                "intervals": {name: {name: {name: [0.4, 0.6]}}},
                "comparisons": {
                    name: {name: {"difference": asdict(Estimate(-0.1, -0.2, -0.05, 3))}}
                },
                "settings": {name: name},
                "hashes": {name: name},
                "resize_mode": "shortest",
            },
            {"transformers": name},
        )

    def form(markdown):
        _, front, body = markdown.split("---\n", 2)
        told = yaml.safe_load(front)
        for name in (
            "base_model",
            "base_model_relation",
        ):  # there if the words could name a repository
            told.pop(name, None)
        return told, re.findall(r"</?(?!code)\w+>", render(body))

    front, tags = form(card(words))
    expected_front, expected_tags = form(card("word"))
    assert tags == expected_tags
    assert front == expected_front | {"license_name": shown(words)}
