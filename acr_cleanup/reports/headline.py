"""The verdict of a run in a sentence or two."""

from __future__ import annotations

from acr_cleanup.core.outcome import OutcomeKind, Verdict
from acr_cleanup.reports import words
from acr_cleanup.reports.view import View


def headline(view: View) -> str:
    """The verdict in a sentence or two. It never says more was done, or was certain, than is so."""
    result, counts = view.result, view.result.counts
    registry = view.registry
    planned = _selection(counts.planned, result.plan.untagged)
    if view.broken:
        first, *others = view.broken
        verb = words.plural(len(others), "is")
        more = f"; {words.count(len(others), 'more reference')} {verb} broken" if others else ""
        what = f"{words.plain(first.what)} {words.plain(first.seen)}, {words.plain(first.who, 600)}"
        return f"Broken: {what}{more}. {_done(view)[:1].upper()}{_done(view)[1:]}."
    if result.verdict is Verdict.CANCELLED:
        if not counts.deleted and not counts.deleted_manifests:
            return f"Cancelled: nothing was deleted from {registry}."
        return f"Cancelled: {_done(view)}."
    if view.ended_early:
        what = words.plain(view.blockers[0].seen.partition("\n")[0]).rstrip(".")
        return f"Failed: {what}. Nothing was deleted from {registry}."
    if view.acted and view.blockers:
        return f"Stopped: {_done(view)}; then {_unseen(view)} could no longer be read completely."
    if view.blockers:
        start = "Blocked: nothing can be deleted from" if result.dry_run else "Blocked: nothing was deleted from"
        rest = f" As far as could be seen, {planned} would go." if planned else ""
        return f"{start} {registry}, because {_unseen(view)} could not be read completely.{rest}"
    if not view.acted and (result.refusals or result.verdict is Verdict.REFUSED):
        selected = f" The plan selects {planned}." if planned else ""
        if result.dry_run:
            return f"Dry run: nothing was deleted from {registry}, and an apply would be refused.{selected}"
        return f"Refused: nothing was deleted from {registry}.{selected}"
    return _applied(view) if view.acted else _planned(view)


def _planned(view: View) -> str:
    plan, counts = view.result.plan, view.result.counts
    registry = view.registry
    unread = f" {_unread(view)}" if view.unread else ""
    if counts.planned or plan.manifests:
        return (
            f"Dry run: would delete {_amount(counts.planned, plan.manifests)} from {registry}"
            f"{_freeing(view, plan.size, counts.planned, plan.manifests)}. Nothing was deleted.{unread}"
        )
    if not counts.kept:
        why = "no tag could be read" if view.unread else _no_tags(view)
        return f"Nothing to do for {registry}: {why}.{unread}"
    repositories = words.count(len(plan.repositories) - len(view.unread), "repository")
    everything = "the only tag" if counts.kept == 1 else f"all {words.count(counts.kept, 'tag')}"
    verb = words.plural(counts.kept, "is")
    return f"Nothing to do for {registry}: {everything} of {repositories} {verb} kept.{unread}"


def _applied(view: View) -> str:
    result, counts = view.result, view.result.counts
    registry = view.registry
    failed_manifests = sum(each.kind is OutcomeKind.FAILED and each.tag is None for each in result.outcomes)
    if result.verdict is Verdict.PARTIAL or counts.failed:
        # What somebody has to look into comes first, and what cannot be undone right after it.
        troubles = []
        if counts.failed:
            troubles.append(f"{words.count(counts.failed, 'tag')} failed")
        elif failed_manifests:
            troubles.append(f"{words.count(failed_manifests, 'manifest')} failed")
        if result.proof is not None and result.proof.unproven:
            troubles.append("it could not be proven that everything in use can still be pulled")
        if view.unread:
            troubles.append(_unread(view).rstrip("."))
        return f"Partly done: {'; '.join([*troubles, _done(view)])}."
    if not counts.deleted and not counts.deleted_manifests:
        return (
            f"Nothing was deleted from {registry}: {_all_of(counts.planned, result.plan.untagged)} had changed since the plan "
            "or had to stay."
        )
    left = counts.planned - counts.deleted + result.plan.untagged - view.untagged_deleted
    if not left:
        return (
            f"Deleted {_amount(counts.deleted, counts.deleted_manifests)} from {registry}"
            f"{_freeing(view, counts.bytes, counts.deleted, counts.deleted_manifests)}."
        )
    return f"Deleted {_done(view, verb='')}; {left:,} had changed since the plan or had to stay."


def _done(view: View, verb: str = " deleted") -> str:
    counts = view.result.counts
    registry = view.registry
    untagged = view.result.plan.untagged
    if not counts.planned and untagged:
        auxiliary = f" {words.plural(untagged, 'was')}" if verb else ""
        return (
            f"{view.untagged_deleted:,} of {words.count(untagged, 'planned manifest')} without tags{auxiliary}{verb} from "
            f"{registry}{_freeing(view, counts.bytes, 0, counts.deleted_manifests) if counts.deleted_manifests else ''}"
        )
    auxiliary = f" {words.plural(counts.planned, 'was')}" if verb else ""
    manifests = f", with {words.count(counts.deleted_manifests, 'manifest')}" if counts.deleted_manifests else ""
    done = counts.deleted or counts.deleted_manifests
    freeing = _freeing(view, counts.bytes, counts.deleted, counts.deleted_manifests) if done else ""
    return (
        f"{counts.deleted:,} of {words.count(counts.planned, 'planned tag')}{auxiliary}{verb} from {registry}"
        f"{manifests}{freeing}"
    )


def _amount(tags: int, manifests: int) -> str:
    parts = [words.count(tags, "tag")] if tags or not manifests else []
    if manifests:
        parts.append(words.count(manifests, "manifest"))
    return words.listing(parts)


def _freeing(view: View, size: int, tags: int, manifests: int) -> str:
    if manifests:
        return f", freeing {'' if view.exact else 'up to '}{words.size(size)}"
    return (
        f" (by name only: {words.plural(tags, 'its')} {words.plural(tags, 'manifest')} stay{'s' if tags == 1 else ''})"
    )


def _selection(tags: int, untagged: int) -> str:
    """What a plan selects, without what goes along with it; empty if it is nothing."""
    parts = [words.count(tags, "tag")] if tags else []
    parts += [f"{words.count(untagged, 'manifest')} without tags"] if untagged else []
    return words.listing(parts) if parts else ""


def _all_of(planned: int, untagged: int) -> str:
    if untagged:
        return f"what was planned ({_selection(planned, untagged)})"
    return "the only planned tag" if planned == 1 else f"all {words.count(planned, 'planned tag')}"


def _unseen(view: View) -> str:
    places = list(dict.fromkeys(words.plain(blocker.where, 80) for blocker in view.blockers))
    if len(places) > 3:
        return f"{places[0]}, {places[1]} and {len(places) - 2} others"
    return words.listing(places)


def _unread(view: View) -> str:
    number = len(view.unread)
    return f"{words.count(number, 'repository')} could not be read and {words.plural(number, 'is')} kept whole."


def _no_tags(view: View) -> str:
    if view.result.plan.repositories:
        return "its repositories in scope hold no tags"
    policy = view.result.plan.policy
    of = "it" if policy.shard.is_whole else "this shard"
    return f"no repository of {of} is {policy.scope} in the clusters"
