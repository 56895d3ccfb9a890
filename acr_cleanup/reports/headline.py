"""The verdict of a run in one or two sentences."""

from __future__ import annotations

from acr_cleanup.core.outcome import OutcomeKind, Verdict
from acr_cleanup.reports import words
from acr_cleanup.reports.view import View


def headline(view: View) -> str:
    """
    Return the verdict in one or two sentences.

    It never claims a deletion that did not happen, and never a certainty that the run did not have.
    """
    result = view.result
    if view.broken:
        return _broken(view)
    if result.verdict is Verdict.CANCELLED:
        return _cancelled(view)
    if view.ended_early:
        problem = words.plain(view.blockers[0].seen.partition("\n")[0]).rstrip(".")
        return f"Failed: {problem}. Nothing was deleted from {view.registry}."
    if view.blockers:
        return _blocked(view)
    if not view.acted and (result.refusals or result.verdict is Verdict.REFUSED):
        return _refused(view)
    return _applied(view) if view.acted else _planned(view)


def _broken(view: View) -> str:
    first, *others = view.broken
    verb = words.plural(len(others), "is")
    more = f"; {words.count(len(others), 'more reference')} {verb} broken" if others else ""
    reference = f"{words.plain(first.what)} {words.plain(first.seen)}, {words.plain(first.who, 600)}"
    return f"Broken: {reference}{more}. {_done(view)[:1].upper()}{_done(view)[1:]}."


def _cancelled(view: View) -> str:
    counts = view.result.counts
    if not counts.deleted and not counts.deleted_manifests:
        return f"Cancelled: nothing was deleted from {view.registry}."
    return f"Cancelled: {_done(view)}."


def _blocked(view: View) -> str:
    if view.acted:
        return f"Stopped: {_done(view)}; then {_blocked_places(view)} could no longer be read completely."
    start = "Blocked: nothing can be deleted from" if view.result.dry_run else "Blocked: nothing was deleted from"
    selected = _selection(view)
    rest = f" According to what was read, {selected} would be deleted." if selected else ""
    if view.bound:
        rest = f" The reviewed plan selects {selected}." if selected else ""
    return f"{start} {view.registry}, because {_blocked_places(view)} could not be read completely.{rest}"


def _refused(view: View) -> str:
    selected = (
        f" The {'reviewed ' if view.bound else ''}plan selects {selection}." if (selection := _selection(view)) else ""
    )
    if view.result.dry_run:
        return f"Dry run: nothing was deleted from {view.registry}, and an apply would be refused.{selected}"
    return f"Refused: nothing was deleted from {view.registry}.{selected}"


def _planned(view: View) -> str:
    plan, counts = view.result.plan, view.result.counts
    unread = f" {_unread(view)}." if view.unread else ""
    if counts.planned or plan.manifests:
        return (
            f"Dry run: would delete {_amount(counts.planned, plan.manifests)} from {view.registry}"
            f"{_freeing(view, plan.size, counts.planned, plan.manifests)}. Nothing was deleted.{unread}"
        )
    if not counts.kept:
        why = "no tag could be read" if view.unread else _no_tags(view)
        return f"Nothing to do for {view.registry}: {why}.{unread}"
    repositories = words.count(len(plan.repositories) - len(view.unread), "repository")
    all_tags = "the only tag" if counts.kept == 1 else f"all {words.count(counts.kept, 'tag')}"
    verb = words.plural(counts.kept, "is")
    return f"Nothing to do for {view.registry}: {all_tags} of {repositories} {verb} kept.{unread}"


def _applied(view: View) -> str:
    result, counts = view.result, view.result.counts
    if result.verdict is Verdict.PARTIAL or counts.failed:
        # The problems come first, because the user must act on them. The deletions follow, because
        # they cannot be undone.
        return f"Partly done: {'; '.join([*_problems(view), _done(view)])}."
    if not counts.deleted and not counts.deleted_manifests:
        return f"Nothing was deleted from {view.registry}: {_all_planned(view)} had changed since the plan or must be kept."
    left = counts.planned - view.planned_deleted + result.plan.untagged - view.untagged_deleted
    if not left:
        return (
            f"Deleted {_amount(counts.deleted, counts.deleted_manifests)} from {view.registry}"
            f"{_freeing(view, counts.bytes, counts.deleted, counts.deleted_manifests)}."
        )
    return f"Deleted {_done(view, verb='')}; {left:,} had changed since the plan or must be kept."


def _problems(view: View) -> list[str]:
    result, counts = view.result, view.result.counts
    manifests = sum(outcome.kind is OutcomeKind.FAILED and outcome.tag is None for outcome in result.outcomes)
    problems = []
    if counts.failed:
        problems.append(f"{words.count(counts.failed, 'tag')} failed")
    elif manifests:
        problems.append(f"{words.count(manifests, 'manifest')} failed")
    if result.proof is not None and result.proof.unproven:
        problems.append("the check that everything in use can still be pulled is incomplete")
    if view.unread:
        problems.append(_unread(view))
    return problems


def _done(view: View, verb: str = " deleted") -> str:
    """The deletions as a clause. With an empty `verb`, the clause has no predicate."""
    counts, untagged = view.result.counts, view.result.plan.untagged
    if not counts.planned and untagged:
        auxiliary = f" {words.plural(untagged, 'was')}" if verb else ""
        return (
            f"{view.untagged_deleted:,} of {words.count(untagged, 'planned untagged manifest')}{auxiliary}{verb} from "
            f"{view.registry}"
            f"{_freeing(view, counts.bytes, 0, counts.deleted_manifests) if counts.deleted_manifests else ''}"
        )
    auxiliary = f" {words.plural(counts.planned, 'was')}" if verb else ""
    manifests = f", with {words.count(counts.deleted_manifests, 'manifest')}" if counts.deleted_manifests else ""
    deleted = counts.deleted or counts.deleted_manifests
    freeing = _freeing(view, counts.bytes, counts.deleted, counts.deleted_manifests) if deleted else ""
    return (
        f"{view.planned_deleted:,} of {words.count(counts.planned, 'planned tag')}{auxiliary}{verb} from {view.registry}"
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
    tag, manifest = words.plural(tags, "tag"), words.plural(tags, "manifest")
    return f" (only the {tag}: {words.plural(tags, 'its')} {manifest} {words.plural(tags, 'is')} kept)"


def _selection(view: View) -> str:
    """
    The tags and manifests that the plan selects, without the manifests of selected tags; "" if it selects nothing.
    """
    tags, untagged = view.result.counts.planned, view.result.plan.untagged
    parts = [words.count(tags, "tag")] if tags else []
    parts += [words.count(untagged, "untagged manifest")] if untagged else []
    return words.listing(parts) if parts else ""


def _all_planned(view: View) -> str:
    planned = view.result.counts.planned
    if view.result.plan.untagged:
        return f"everything planned ({_selection(view)})"
    return "the only planned tag" if planned == 1 else f"all {words.count(planned, 'planned tag')}"


def _blocked_places(view: View) -> str:
    return words.first_few(words.plain(blocker.where, 80) for blocker in view.blockers)


def _unread(view: View) -> str:
    number = len(view.unread)
    repositories = words.count(number, "repository")
    return f"{repositories} could not be read, so all {words.plural(number, 'its')} tags are kept"


def _no_tags(view: View) -> str:
    plan = view.result.plan
    if plan.repositories:
        return "the repositories in scope have no tags"
    part = "registry" if plan.policy.shard.is_whole else "shard"
    return f"no repository of this {part} is {plan.policy.scope} in the clusters"
