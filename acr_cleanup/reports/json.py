"""
Renders `report.json` and `plan.json` in pieces, with one line for each decision and outcome.

The published schemas, `report.schema.json` and `plan.schema.json`, are in this folder.
`schema_version` is increased when a reader of the old format could misread the new one. New members
do not increase it.

A plan can be reviewed and then applied. Its `hash` is computed over the canonical JSON (UTF-8,
sorted keys, no white space between tokens) of all other members. It detects accidents and manual
edits. It is not a signature: anyone who can write the file can also write a matching hash.
Therefore a plan cannot allow a deletion. It can only restrict an apply to what was reviewed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from importlib import resources
from typing import Any

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.outcome import AppliedPlan, Outcome, OutcomeKind, Result
from acr_cleanup.core.plan import Decision, ManifestDecision, RepositoryPlan
from acr_cleanup.core.policy import KeepReason, RetentionPolicy, describe_duration
from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.core.verification import Broken, Missing, Proof, is_digest
from acr_cleanup.reports import words
from acr_cleanup.reports.plan_words import warning_text
from acr_cleanup.reports.view import View

SCHEMA_VERSION = 1
PLAN_VERSION = 2

Object = dict[str, Any]


def render(result: Result) -> Iterator[str]:
    """Yield the pieces of `report.json`, in order. Together they are one JSON object."""
    plan = result.plan
    view = View(result)
    members: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        "started_at": words.timestamp(result.started_at),
        "finished_at": words.timestamp(result.finished_at),
        "registry": plan.registry,
        "dry_run": result.dry_run,
        "verdict": str(result.verdict),
        "policy": _policy(plan.policy),
        "applied_plan": _applied_plan(result.applied_plan),
        "counts": {
            "deleted": result.counts.deleted,
            "planned": result.counts.planned,
            "kept": result.counts.kept,
            "in_use": result.counts.in_use,
            "failed": result.counts.failed,
            "deleted_manifests": result.counts.deleted_manifests,
            "bytes": result.counts.bytes,
        },
        "clusters": map(_cluster, plan.usage.scans),
        "blockers": map(_blocker, view.blockers),
        "refusals": iter(result.refusals),
        "warnings": iter(view.warnings),
        "deleted_tags": (
            str(outcome)
            for outcome in result.outcomes
            if outcome.tag is not None and outcome.kind is OutcomeKind.DELETED
        ),
        "planned_tags": (
            f"{repository.repository}:{decision.tag.name}"
            for repository in plan.repositories
            for decision in repository.deletions
        ),
        "repositories": (_repository(repository) for repository in plan.repositories),
        "outcomes": map(_outcome, result.outcomes),
        "missing": map(_affected, plan.missing),
        "proof": _proof(result.proof),
        "undo": result.undo,
        "space": {
            "bytes": result.counts.bytes,
            "exact": plan.exact,
            "manifests_read": plan.read_for_sizes,
        },
    }
    yield from _object(members)
    yield "\n"


def render_plan(result: Result) -> Iterator[str]:
    """
    Yield the pieces of `plan.json`: the steps in an order that can be executed, and their evidence.
    """
    # The members are made twice, so that neither the hash nor the file needs all of them in memory.
    yield from _object({**_plan(result), "hash": plan_hash(_plan(result))})
    yield "\n"


def plan_hash(members: Mapping[str, Any]) -> str:
    """
    Hash the canonical JSON of a plan's members, all except `hash`. Iterators are hashed as arrays.

    >>> plan_hash({"b": iter([1, 2]), "a": None}) == plan_hash({"a": None, "b": [1, 2]})
    True
    """
    digest = sha256()
    for number, (key, value) in enumerate(sorted(members.items(), key=lambda member: member[0])):
        digest.update(b"%b%b:" % (b"," if number else b"{", _canonical(key)))
        if isinstance(value, Iterator):
            digest.update(b"[")
            for place, item in enumerate(value):
                digest.update((b"," if place else b"") + _canonical(item))
            digest.update(b"]")
        else:
            digest.update(_canonical(value))
    digest.update(b"}" if members else b"{}")
    return f"sha256:{digest.hexdigest()}"


_canonical = partial(msgspec.json.encode, order="sorted")


def _plan(result: Result) -> Object:
    plan = result.plan
    return {
        "schema_version": PLAN_VERSION,
        "tool_version": __version__,
        "created_at": words.timestamp(plan.created_at),
        "registry": _well_formed(plan.registry),
        "policy": _well_formed(_policy(plan.policy)),
        "counts": {
            "planned": plan.planned,
            "kept": plan.kept,
            "in_use": plan.in_use,
            "untagged": plan.untagged,
            "manifests": plan.manifests,
            "bytes": plan.size,
        },
        "blockers": (_well_formed(_blocker(blocker)) for blocker in View(result).blockers),
        "refusals": map(_well_formed, result.refusals),
        "clusters": map(_evidence, plan.usage.scans),
        "steps": (
            _well_formed(_step(repository.repository, step))
            for repository in plan.repositories
            for step in repository.steps
        ),
    }


def _well_formed(value: Any) -> Any:
    """
    Escape half surrogate pairs in foreign text: they are not valid Unicode, and a reader may reject
    them.
    """
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [_well_formed(item) for item in value]
        case dict():
            return {key: _well_formed(item) for key, item in value.items()}
        case _:
            return value


def _evidence(scan: ClusterScan) -> Object:
    """The cluster that was read, and a hash of its uses."""
    uses = sorted(_canonical(_well_formed({**_use(use), "running": use.running})) for use in scan.uses)
    return {
        "name": _well_formed(scan.cluster),
        "resource_id": scan.resource_id or None,
        "access": _well_formed(scan.access),
        "objects": scan.objects,
        "uses": len(scan.uses),
        "uses_hash": f"sha256:{sha256(b'[%b]' % b','.join(uses)).hexdigest()}",
    }


def _applied_plan(applied: AppliedPlan | None) -> Object | None:
    if applied is None:
        return None
    return {"path": applied.path, "created_at": words.timestamp(applied.created_at), "hash": applied.hash}


def schema(name: str = "report") -> Object:
    """Return the published JSON schema of `report` or `plan`."""
    text = resources.files("acr_cleanup.reports").joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: Object = json.loads(text)
    return loaded


def _policy(policy: RetentionPolicy) -> Object:
    return {
        "older_than": describe_duration(policy.older_than),
        "scope": str(policy.scope),
        "keep_last": policy.keep_last,
        "repositories": list(policy.repositories),
        "include_tags": list(policy.include_tags),
        "exclude_tags": list(policy.exclude_tags),
        "keep_last_by": policy.keep_last_by,
        "use_regex": policy.use_regex,
        "delete_untagged": policy.delete_untagged,
        "include_locked": policy.include_locked,
        "shard": str(policy.shard),
    }


def _cluster(scan: ClusterScan) -> Object:
    return {
        "name": scan.cluster,
        "access": scan.access,
        "objects": scan.objects,
        "uses": len(scan.uses),
        "blockers": [_blocker(blocker) for blocker in scan.blockers],
        "waived": [_blocker(blocker) for blocker in scan.waived],
        "notes": list(scan.notes),
        "read_at": words.timestamp(scan.read_at) if scan.read_at is not None else None,
    }


def _blocker(blocker: Blocker) -> Object:
    return {"where": blocker.where, "call": blocker.call, "seen": blocker.seen, "remedy": blocker.remedy} | (
        {"kind": blocker.kind} if blocker.kind else {}
    )


def _affected(reference: Missing | Broken) -> Object:
    digest = is_digest(reference.name)
    return {
        "repository": reference.repository,
        "tag": None if digest else reference.name,
        "digest": reference.name if digest else None,
        "uses": [_use(use) for use in reference.uses],
    }


def _proof(proof: Proof | None) -> Object | None:
    if proof is None:
        return None
    return {
        "holds": proof.holds,
        "repositories": proof.repositories,
        "references": proof.references,
        "broken": [
            _affected(broken) | {"seen": broken.seen, "deleted_by_this_run": broken.ours} for broken in proof.broken
        ],
        "notes": list(proof.notes),
        "unproven": list(proof.unproven),
        "skipped": proof.skipped,
    }


def _repository(repository: RepositoryPlan) -> Mapping[str, Any]:
    tags_of = {step.digest: step.tags for step in repository.steps if isinstance(step, DeleteManifest)}
    return {
        "name": repository.repository,
        "error": repository.error or None,
        "bytes": repository.size,
        "exact": repository.exact,
        "warnings": list(map(warning_text, repository.warnings)),
        "decisions": map(_decision, repository.decisions),
        "untagged": map(_untagged, repository.untagged),
        "manifests": (
            _manifest(manifest, (tag.name for tag in tags_of[manifest.digest])) for manifest in repository.manifests
        ),
    }


def _decision(decision: Decision) -> Object:
    return {
        "tag": decision.tag.name,
        "digest": decision.tag.digest,
        "updated_at": words.timestamp(decision.tag.updated_at),
        "decision": "delete" if decision.deletes else "keep",
        "reasons": [_reason(reason) for reason in decision.reasons],
    }


def _untagged(decision: ManifestDecision) -> Object:
    manifest = decision.manifest
    return {
        "digest": manifest.digest,
        "media_type": manifest.media_type,
        "bytes": manifest.size,
        "updated_at": words.timestamp(manifest.updated_at),
        "decision": "delete" if decision.deletes else "keep",
        "reasons": [{"rule": str(reason.rule), "detail": reason.detail} for reason in decision.reasons],
    }


def _reason(reason: KeepReason) -> Object:
    return {"rule": str(reason.rule), "detail": reason.detail, "uses": [_use(use) for use in reason.uses]}


def _use(use: ImageUse) -> Object:
    return {
        "cluster": use.workload.cluster,
        "namespace": use.workload.namespace,
        "kind": use.workload.kind,
        "name": use.workload.name,
        "container": use.container,
        "field": use.field,
        "text": use.text,
    }


def _manifest(manifest: Manifest, tags: Iterable[str]) -> Object:
    return {
        "digest": manifest.digest,
        "media_type": manifest.media_type,
        "platform": manifest.platform,
        "bytes": manifest.size,
        "tags": list(tags),
    }


def _outcome(outcome: Outcome) -> Object:
    return {
        "repository": outcome.repository,
        "tag": outcome.tag,
        "digest": outcome.digest,
        "outcome": str(outcome.kind),
        "detail": outcome.detail,
    }


def _step(repository: str, step: Step) -> Object:
    manifest = (
        {"media_type": step.manifest.media_type, "bytes": step.manifest.size}
        if isinstance(step, DeleteManifest)
        else {}
    )
    return {
        "verb": "delete manifest" if isinstance(step, DeleteManifest) else "untag",
        "repository": repository,
        "digest": step.digest,
        **manifest,
        "tags": [{"name": tag.name, "updated_at": words.timestamp(tag.updated_at)} for tag in step.tags],
        "after": list(step.after),
        "locks": [
            {"tag": lock.tag, "delete_enabled": lock.delete_enabled, "write_enabled": lock.write_enabled}
            for lock in step.locks
        ],
    }


def _object(members: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """Yield an object with one line for each member. Iterators become arrays, item by item."""
    inner = "\n" + "  " * (indent + 1)
    yield "{"
    for number, (key, value) in enumerate(members.items()):
        yield f"{',' if number else ''}{inner}{_text(key)}: "
        yield from _array(value, indent + 1) if isinstance(value, Iterator) else (_text(value),)
    yield "\n" + "  " * indent + "}"


def _array(items: Iterator[Any], indent: int) -> Iterator[str]:
    inner = "\n" + "  " * (indent + 1)
    empty = True
    yield "["
    for item in items:
        yield inner if empty else f",{inner}"
        empty = False
        streams = isinstance(item, dict) and any(isinstance(value, Iterator) for value in item.values())
        yield from _object(item, indent + 1) if streams else (_text(item),)
    yield "]" if empty else "\n" + "  " * indent + "]"


def _text(value: Any) -> str:
    # ASCII only: a report that is printed to a terminal or a log then has no control, bidi or
    # escape characters. Pipelines look for `##[` and `##vso[` anywhere in a line. A `#` occurs only
    # within strings, where a JSON reader decodes the escape to the same character.
    return json.dumps(value, ensure_ascii=True).replace("##", "#\\u0023")
