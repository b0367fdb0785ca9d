"""Pieces of a page: text stays text, and reads well without its tags."""

from __future__ import annotations

import pytest

from sendap.report.output import Html, bullets, notice, paragraphs

HOSTILE = '<script>alert("x")</script> & <b>'
SAFE = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &lt;b&gt;"


@pytest.mark.parametrize(
    ("made", "html"),
    [
        (paragraphs(HOSTILE), f"<p>{SAFE}</p>"),
        (bullets([HOSTILE]), f"<ul><li>{SAFE}</li></ul>"),
        (notice(HOSTILE), f'<div class="sendap-notice sendap-note" role="note"><p>{SAFE}</p></div>'),
    ],
)
def test_hostile_text_stays_text(made, html):
    assert made.html == html
    assert str(made) == HOSTILE


def test_empty_sentences_are_left_out():
    assert paragraphs("One.", "", "Two.").html == "<p>One.</p><p>Two.</p>"


def test_a_piece_reads_as_a_screen_reader_would_say_it():
    piece = paragraphs("It fell by £3 & more.") + bullets(["one", "two"])
    assert str(piece) == repr(piece) == "It fell by £3 & more. one two"


def test_a_piece_shows_itself_in_a_notebook():
    assert paragraphs("One.")._repr_html_() == "<p>One.</p>"


def test_a_warning_is_marked_as_one():
    assert 'class="sendap-notice sendap-warning"' in notice("Synthetic", "warning").html
    assert 'role="note"' in notice("Synthetic", "warning").html


def test_pieces_add_up_in_order():
    assert (Html("<p>a</p>") + Html("<p>b</p>")).html == "<p>a</p><p>b</p>"
