"""Sentences about what earlier runs decided: new tags, and a reviewed plan."""

from __future__ import annotations

from acr_cleanup.core.retention import day
from acr_cleanup.reports import words
from acr_cleanup.reports.view import View


def new_tags(view: View) -> str:
    """How many planned tags the last run would not have deleted, as a sentence; "" if that is not known."""
    plan, news = view.result.plan, [tally.new for tally in view.result.plan.tallies if tally.new is not None]
    last_run = plan.usage.history.last_run
    if not news or last_run is None or view.acted:
        return ""
    since = f"new since the last run on {day(last_run, plan.created_at)}"
    if not sum(news):
        return f"Nothing that would be deleted is {since}."
    return f"{sum(news):,} of the {words.count(plan.planned, 'planned tag')} {words.plural(sum(news), 'is')} {since}."


def reviewed_numbers(view: View) -> str:
    """Say that the planned tags are those of the reviewed plan; "" without a reviewed plan."""
    if not view.bound or view.plan_rejected:
        return ""
    plan = view.result.plan
    vanished = sum(tally.vanished for tally in plan.tallies)
    exists, counts = words.plural(vanished, "exists"), words.plural(vanished, "counts")
    gone = f" {vanished:,} of them no longer {exists} as reviewed, and {counts} for no limit." if vanished else ""
    planned = words.count(plan.planned, "planned tag")
    return f"{planned} {words.plural(plan.planned, 'is')} of the reviewed plan; kept tags are of now.{gone}"
