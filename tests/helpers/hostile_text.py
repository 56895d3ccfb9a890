"""Hostile texts for tag names, image strings, object names and error messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from acr_cleanup.core.inventory import LockState, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.plan_warnings import UnmeasuredSpace
from acr_cleanup.core.references import ImageReference
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.core.verification import Broken, Missing, Proof
from acr_cleanup.core.workload import Workload
from tests.helpers import sample_results as samples

TEXTS = (
    "\x1b[2J\x1b[1;31mred\x1b[0m",
    "\x1b]0;title\x07\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mC1 introducer",
    "line\nbreak\r\nand\rreturn\x0b\x0c\x85\u2028\u2029end",
    "\n::add-mask::secret",
    "   ::set-output name=deleted-tags::[]",
    "::stop-commands::x",
    "##[error]fake",
    "x ##vso[task.setvariable variable=PATH]evil",
    "##[group]\n##vso[task.complete result=Succeeded;]",
    ":::error:::",
    "###[##[[",
    "a|b|c",
    "`code`` and ```fence",
    "</code></summary></details><script>alert(1)</script><img src=x onerror=alert(1)>",
    "<!-- comment -->",
    "&lt;b&gt; &#60;script&#62;",
    "[text](javascript:alert(1)) ![image](https://evil.example/p.png)",
    "*bold* _it_ ~~gone~~ **x** __y__",
    "https://evil.example www.evil.example mail@evil.example @org/team :tada: #123",
    "$x$ $$y$$ $`z`$",
    "# heading",
    "- list\n1. list\n> quote\n---",
    "| - | - |",
    "\\| \\` \\\\",
    "[!NOTE] [ref]: https://evil.example",
    "rtl \u202egnp.exe\u202c zero\u200bwidth\u200d\ufeff soft\u00ad tag\U000e0041",
    "lone \ud800 surrogate \udfff",
    "zalgo e" + "\u0301" * 200,
    "\x00nul\x08\x08bs\x7fdel",
    "x" * 5000,
    "\t  tabs\tand   spaces \xa0\u3000",
    "{0} {name} %s %(x)s ${HOME} $(id) `id`",
    "\ue000private\uffff",
    "",
)
"""Hostile names and messages, and a few that are only unusual."""


def result(text: str) -> Result:
    """The result of a run with this text in every place where a report shows foreign text."""
    name = text or "empty"
    blocker = Blocker(text, text, text, text)
    old = samples.NOW - timedelta(days=100)
    tags = (
        Tag(f"{name}1", samples.digest(1), old),
        Tag(f"{name}2", samples.digest(2), old),
        Tag(f"{name}3", samples.digest(3), old, LockState(locked=True)),
        Tag(f"{name}4", samples.digest(4), samples.NOW),
        Tag(f"{name}5", samples.digest(5), old),
    )
    manifests = (
        Manifest(samples.digest(number), samples.DOCKER_IMAGE, platform=text, known=True) for number in range(1, 6)
    )
    inventory = RepositoryInventory(text, tags, {manifest.digest: manifest for manifest in manifests})
    use = ImageUse(
        Workload(text, text, text, text),
        text,
        text,
        text,
        ImageReference(samples.HOST, text, f"{name}2", None),
        running=True,
    )
    scan = ClusterScan(text, (use,), (blocker,), access=text)
    plan = samples.plan([inventory], [scan])
    plan = replace(
        plan,
        policy=replace(plan.policy, exclude_tags=(text,), include_tags=(text,), repositories=(text,)),
        repositories=(
            *(replace(repository, missing=(Missing(text, name, (use,)),)) for repository in plan.repositories),
            RepositoryPlan(f"{text}unread", warnings=(UnmeasuredSpace(text, error=text),), error=text),
        ),
    )
    proof = Proof(1, 1, (Broken(text, name, f"is gone, and {text} lists it", (use,)),), (text,), (text,))
    outcomes = [Outcome(text, samples.digest(6), text, kind, text) for kind in OutcomeKind]
    return samples.result(
        plan,
        Verdict.PARTIAL,
        dry_run=False,
        outcomes=tuple(outcomes),
        blockers=(blocker,),
        refusals=(text,),
        warnings=(text,),
        proof=proof,
    )


WORLDS: dict[str, Callable[[], Result]] = {
    f"{number:02}": (lambda text=text: result(text))  # type: ignore[misc]
    for number, text in enumerate(TEXTS)
}
