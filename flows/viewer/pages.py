"""Turns what the database says into HTML.

Every template escapes; text that a model wrote goes through `whole`, `excerpt` or `show`, which
also make visible what hides in it. Numbers and codes are told in the report's words.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment

from flows import charts, glossary
from flows.report import TEMPLATES as REPORT_TEMPLATES
from flows.report import list_drops, sum_operators
from flows.template_words import open_templates
from flows.untrusted_text import show_added, show_text
from flows.viewer import browsing
from flows.viewer.shown import show_excerpt, show_match, show_whole

ROOM = Path(__file__).parent
ASSETS = {
    "report.css": (REPORT_TEMPLATES / "report.css", "text/css"),
    "viewer.css": (ROOM / "static/viewer.css", "text/css"),
    "viewer.js": (ROOM / "static/viewer.js", "text/javascript"),
}
"""The files that pages may load."""
DECISIONS = {"accept": "published", "quarantine": "quarantined", "reject": "rejected"}
FACETS = {
    "decision": "Decision",
    "reason": "Reason",
    "operator": "Operator",
    "round": "Round",
    "domain": "Domain",
    "verified_by": "Verified by",
    "teacher": "Teacher",
    "cycle": "Cycle",
}


def render(template: str, **told: Any) -> str:
    """A page."""
    return _load_templates().get_template(template).render(told)


def name_value(facet: str, value: str) -> str:
    """A facet's value as a person reads it."""
    if not value:
        return "none"
    if facet == "decision":
        return DECISIONS.get(value, value)
    return glossary.name_code(value) if facet in ("reason", "operator") else value


def tell_decision(decision: str | None) -> str:
    """`published` for a row of the dataset; an answer that was only accepted says `accepted`."""
    return {"accept": "accepted"}.get(decision or "", DECISIONS.get(decision or "", "not judged"))


@cache
def _load_templates() -> Environment:
    env = open_templates(ROOM / "templates", autoescape=True)
    env.filters.update(
        show=show_text,
        show_added=partial(show_added, longest=2_000),
        whole=show_whole,
        excerpt=show_excerpt,
        match=show_match,
        explain=glossary.explain_reason,
        decided=tell_decision,
        segment=partial(quote, safe=""),
    )
    env.globals.update(
        DECISIONS=DECISIONS,
        FACETS=FACETS,
        SORTS=browsing.SORTS,
        SHOWN_VALUES=browsing.SHOWN_VALUES,
        name_value=name_value,
        draw_share=charts.draw_share,
        draw_survival=charts.draw_survival,
        draw_difficulty=charts.draw_difficulty,
        list_drops=list_drops,
        sum_operators=sum_operators,
    )
    return env
