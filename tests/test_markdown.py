"""Markdown that says what was meant, by the parser of another library."""

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from tests.runs import tiny_run
from unforced.models.pretrained import Pretrained
from unforced.reporting.card import Card
from unforced.reporting.markdown import code_cell, code_span, plain, table
from unforced.reporting.tables import latex, markdown

PARSER = MarkdownIt("commonmark").enable("table")
AWKWARD = [
    "<|mask|>",
    "a|b",
    "`",
    "``x`",
    "*a*",
    "_a_",
    "<b>",
    "$x$",
    r"\|",
    "[a](b)",
    "&lt;",
    "~~a~~",
    "a_b",
]


def cells(text):
    """The texts of the cells of the tables in a page, row by row."""
    rows, in_cell = [], False
    for token in PARSER.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open", "th_close", "td_close"):
            in_cell = token.type.endswith("open")
        elif token.type == "inline" and in_cell:
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_cells_say_what_was_meant():
    frame = pd.DataFrame({name: ["49.8%", name] for name in AWKWARD}, index=["held-out", "<|mask|>"])
    frame.index.name = "chance | 1/d"
    assert cells(markdown(frame)) == [
        ["chance | 1/d", *AWKWARD],
        ["held-out", *["49.8%"] * len(AWKWARD)],
        ["<|mask|>", *AWKWARD],
    ]


def test_code_in_cells_and_paragraphs_says_what_was_meant():
    awkward = [text for text in AWKWARD if text != r"\|"]  # which no code in a cell can say
    assert cells(table(["setting", "value"], [[code_cell(text)] * 2 for text in awkward])) == [
        ["setting", "value"],
        *([text] * 2 for text in awkward),
    ]
    for text in AWKWARD:
        (token,) = PARSER.parseInline(code_span(text))[0].children
        assert (token.type, token.content) == ("code_inline", text)
        assert "".join(child.content for child in PARSER.parseInline(plain(text))[0].children) == text


@pytest.mark.parametrize("mask_token", ["<|mask|>", "`"])
def test_the_settings_of_a_card_stay_in_their_cells(mask_token):
    model = Pretrained.model_construct(name_or_path="owner/name", mask_token=mask_token)
    run = tiny_run().model_copy(update={"model": model})
    card = Card(run, "GPT2LMHeadModel", 1, 0, 7, [("1,2/1,2=", "1,2")], "", None)
    rows = cells(card._settings())
    assert ["model.mask_token", f'"{mask_token}"'] in rows
    assert {len(row) for row in rows} == {2}


def test_latex_prints_a_backtick():
    assert r"\textasciigrave{}" in latex(pd.DataFrame({"`": ["1.0"]}, index=["a"]))
