"""A report as a page: complete, self-contained, and without a way in for markup. `make test-browser` shows it."""

from __future__ import annotations

from datetime import UTC, datetime

from dune_matviews.report import Outcome, RefreshReport, ViewResult
from tests.batch.runs import refresh_all
from tests.simulation import Dune

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_names_and_messages_that_hold_markup_stay_text() -> None:
    """Nothing of a name or a message becomes an element or an attribute, in the page or in a notebook."""
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e"
    results = {evil: ViewResult(outcome=Outcome.FAILED, reason=evil)}
    report = RefreshReport(results, NOON, NOON, None, {evil: (evil,)})
    for shown in (report.to_html(), report._repr_html_()):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "\u202e" not in shown
        assert "&lt;script&gt;" in shown


def test_a_page_is_whole_and_needs_no_network() -> None:
    """Each view with its outcome, a bar in the Gantt chart and the lineage; nothing is loaded from anywhere."""
    report = refresh_all(Dune(length=20.0), {"top": ["base"], "base": []})
    page = report.to_html()
    assert page.count('class="lane"><i ') == 2
    assert "base → top" in page
    assert "Lineage" in page
    assert not any(each in page for each in ("http:", "https:", "src=", "url(", "@import"))
