"""The answers of `explain`: limited in a terminal, complete elsewhere, and always escaped."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from acr_cleanup.core.explanation import explain_manifest, explain_tag
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.mentions import How, ListedNames, Mention, RepositoryMentions
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, UsageIndex
from acr_cleanup.core.workload import Workload
from acr_cleanup.reports.answer import TAGS_ON_SCREEN, USES_ON_SCREEN, Answer
from acr_cleanup.reports.explained_repository import explain_repository
from acr_cleanup.reports.explanation import explain_item
from tests.helpers.drawn_inventories import DIGESTS, NAMES, inventories, named_uses
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, referrer, tag, use

BLOCKED = Blocker("staging", "listing pods", "503 Service Unavailable.", "Look at the API server.")


def evidence(
    repository: RepositoryInventory,
    *uses: ImageUse,
    policy: RetentionPolicy | None = None,
    blockers: tuple[Blocker, ...] = (),
    waived: tuple[Blocker, ...] = (),
) -> Evidence:
    scan = ClusterScan("production", uses, blockers, access="direct", objects=9, waived=waived)
    usage = UsageIndex.of([scan], NOW)
    return Evidence(repository.used_by(usage.digests(repository.name)), usage, policy or RetentionPolicy(), NOW)


def tag_page(asked: Evidence, name: str, *, everything: bool = False) -> Answer:
    return explain_item(asked, explain_tag(asked, name), everything=everything)


def terminal(page: Answer, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=True, color_system=None, _environ={}).print(page)
    return stream.getvalue()


def words_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def many(number: int) -> list[ImageUse]:
    return [use("1.0", name=f"web-{place:03}") for place in range(number)]


def test_terminal_shows_the_first_uses_and_counts_the_rest() -> None:
    page = tag_page(evidence(inventory([tag("1.0", "a")]), *many(50)), "1.0")

    assert len(re.findall(r"Deployment/web-\d+", str(page))) == 50
    shown = terminal(page)
    assert len(re.findall(r"Deployment/web-\d+", shown)) == USES_ON_SCREEN
    assert "… and 30 more uses. To see all, pipe the output: | cat" in shown
    assert "Used by 50 workloads (50 uses)" in shown
    asked = evidence(inventory([tag("1.0", "a")]), *many(50))
    assert len(re.findall(r"Deployment/web-\d+", terminal(tag_page(asked, "1.0", everything=True)))) == 50


class Named:
    """A cluster whose objects name `1.0` in two fields of one object, and the repository in another."""

    is_empty = False

    def of(self, listed: ListedNames) -> RepositoryMentions:
        settings, job = (Workload("production", "shop", kind, "settings") for kind in ("ConfigMap", "CronJob"))
        fields = [Mention(settings, f"data.{key}", listed.repository, "1.0", How.NEAR) for key in ("a", "b\x1b[31m")]
        pushed = Mention(Workload("staging", "", "", ""), "", listed.repository, "1.0", How.UNKNOWN)
        opened = Mention(job, "spec.image", listed.repository, "", How.OPEN)
        return RepositoryMentions({"1.0": (*fields, pushed)}, {}, (opened,))


def test_page_lists_each_mention_with_its_object_and_field() -> None:
    usage = UsageIndex.of([ClusterScan("production", (), (), mentions=Named())], NOW)
    asked = Evidence(inventory([tag("1.0", "a"), tag("2.0", "b")]), usage, RetentionPolicy(), NOW)

    lines = words_of(str(tag_page(asked, "1.0")))

    start = lines.index("Named by 3 objects (4 mentions)")
    assert lines[start + 1 : start + 8] == [
        "production/shop/ConfigMap/settings",
        "data.a: names shop/web and 1.0",
        r"data.b\x1b[31m: names shop/web and 1.0",
        "production/shop/CronJob/settings",
        "spec.image: names shop/web, but not which tag",
        "staging",
        "pushed after the names for the usage snapshot of staging were read",
    ]
    assert "Named by 1 object (1 mention)" in words_of(str(tag_page(asked, "2.0")))


def stateful_uses() -> list[ImageUse]:
    """A StatefulSet, its revision and a pod of it, which all hold the same digest."""
    written = use(None, "a", name="ledger", running=False)
    revision = replace(
        written, field="data.spec.template.spec.containers[0].image", holder="ControllerRevision/ledger-1"
    )
    pod = replace(written, field="spec.containers[0].image", running=True, holder="Pod/ledger-0")
    return [written, revision, pod, replace(pod, field="status.containerStatuses[0].imageID")]


def test_fields_with_one_text_share_a_line_and_name_their_object() -> None:
    page = tag_page(evidence(inventory([tag("1.0", "a")]), *stateful_uses()), "1.0")

    text = stateful_uses()[0].text
    fields = (
        "spec.template.spec.containers[0].image; "
        "ControllerRevision/ledger-1 data.spec.template.spec.containers[0].image; "
        "Pod/ledger-0 spec.containers[0].image, status.containerStatuses[0].imageID"
    )
    assert f"{fields}: {text}" in words_of(str(page))
    assert str(page).count(text) == 1


def test_json_has_the_parts_of_the_page() -> None:
    asked = evidence(inventory([tag("1.0", "a"), tag("2.0", "b")]), *stateful_uses(), blockers=(BLOCKED,))
    kept = json.loads("".join(tag_page(asked, "1.0").as_json()))
    deleted = json.loads("".join(tag_page(asked, "2.0").as_json()))

    assert (kept["decision"], deleted["decision"]) == ("keep", "delete")
    assert kept["verdict"] == tag_page(asked, "1.0").verdict
    assert {"rule": "in-use", "text": "a workload runs or pins its digest"} in kept["rules"][0]["rules"]
    assert [use["object"] for use in kept["uses"]].count("Pod/ledger-0") == 2
    assert "Deployment/ledger" in [use["object"] for use in kept["uses"]]
    assert (kept["frees"], deleted["frees"]["manifests"]) == (None, 1)
    assert kept["blockers"][0]["where"] == "staging"
    assert kept["run"]["Clusters"]
    repository = json.loads("".join(explain_repository(asked).as_json()))
    assert [row["tag"] for row in repository["tags"]] == ["2.0", "1.0"]
    assert repository["frees"] == deleted["frees"]


def test_index_frees_its_children_too() -> None:
    images = [image("amd"), image("arm"), image("kept"), index("multi", ["amd", "arm"]), referrer("sig", "multi")]
    asked = evidence(inventory([tag("1.0", "multi"), tag("2.0", "kept")], images), use("2.0"))

    freed = "Frees its manifest, which is deleted too, with 3 manifests that belong to it (2.0 KiB as listed)"
    assert freed in words_of(str(tag_page(asked, "1.0")))
    of_manifest = explain_item(asked, explain_manifest(asked, d("multi")))
    assert "Frees the manifest with 3 manifests that belong to it (2.0 KiB as listed)" in words_of(str(of_manifest))


def test_options_at_their_defaults_are_not_listed() -> None:
    lines = words_of(str(tag_page(evidence(inventory([tag("1.0", "a")]), use("2.0")), "1.0")))

    assert not [line for line in lines if line.startswith(("not newest", "not excluded", "Locked"))]
    policy = RetentionPolicy(keep_last=1, exclude_tags=("v*",))
    asked = evidence(inventory([tag("1.0", "a"), tag("2.0", "b", days=50)]), use("3.0"), policy=policy)
    lines = words_of(str(tag_page(asked, "1.0")))
    assert "not newest it is not among the newest 1" in lines
    assert "not excluded exclude-tags does not match it (v*)" in lines


def test_all_links_share_the_limit_of_a_terminal() -> None:
    pinned = [use(None, "a", name=f"pinned-{place}") for place in range(15)]
    page = tag_page(evidence(inventory([tag("1.0", "a")]), *many(15), *pinned), "1.0")

    assert len(re.findall(r"Deployment/(?:web|pinned)-\d+", terminal(page))) == USES_ON_SCREEN
    assert "They name or run its digest (15)" in terminal(page)


def test_terminal_shows_the_newest_tags() -> None:
    tags = [tag(f"1.{number}", number + 1, days=100 + number) for number in range(TAGS_ON_SCREEN + 5)]
    page = explain_repository(evidence(inventory(tags), use("1.3")))

    shown = terminal(page)
    assert "… and 5 more tags. To see all" in shown
    assert re.search(r"^1\.0 ", shown, re.MULTILINE)
    assert not re.search(r"^1\.64 ", shown, re.MULTILINE)
    assert re.search(r"^1\.64 ", str(page), re.MULTILINE)


def pages() -> Iterable[Answer]:
    repository = inventory(
        [
            tag("multi", "index"),
            tag("arm", "arm"),
            tag("old", "x"),
            tag("young", "y", days=2),
            tag("ageless", "z", days=None),
        ],
        [index("index", ["amd", "arm"]), *map(image, ("amd", "arm", "x", "y", "z")), referrer("r", "x")],
    )
    asked = evidence(
        repository,
        use("multi", name="w" * 63),
        use("gone", name="broken"),
        use(None, "amd"),
        use(None, None, name="open"),
        policy=RetentionPolicy(keep_last=2, exclude_tags=("latest", "v*")),
        blockers=(BLOCKED,),
        waived=(replace(BLOCKED, kind="rollouts.argoproj.io"),),
    )
    for name in ("multi", "arm", "old", "young", "ageless", "gone", "nothing"):
        yield tag_page(asked, name)
    for digest in ("index", "amd", "x", "r", "none"):
        yield explain_item(asked, explain_manifest(asked, d(digest)))
    yield explain_repository(asked)
    yield explain_repository(evidence(inventory([]), use("1.0")))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_the_terminal_width(width: int) -> None:
    for page in pages():
        assert max(cell_len(line) for line in terminal(page, width).splitlines()) <= width


def test_terminal_page_has_every_plain_word() -> None:
    for page in pages():
        assert set(str(page).split()) - set(terminal(page, 400).split()) == set()


def test_blockers_and_waivers_are_always_shown() -> None:
    for page in list(pages())[:-1]:
        lines = words_of(str(page))
        assert lines[1].startswith(
            "staging could not be read completely. A run would delete nothing now, and more uses"
        )
        assert "503 Service Unavailable." in lines
        assert "→ Look at the API server." in lines
        assert any("rollouts.argoproj.io is waived" in line for line in lines)


def test_verdict_with_a_blocker_is_not_certain() -> None:
    asked = evidence(inventory([tag("1.0", "a"), tag("2.0", "b")]), use("2.0"), blockers=(BLOCKED,))

    assert str(tag_page(asked, "1.0")).startswith("According to what could be read, shop/web:1.0 would be deleted.\n")
    assert str(tag_page(asked, "2.0")).startswith("shop/web:2.0 is kept: a workload names this tag.\n")


def test_missing_image_in_a_status_is_not_called_a_failing_pull() -> None:
    """A status describes what already runs on the node. Nothing pulls it."""
    running = replace(use(None, "gone"), field="status.containerStatuses[0].imageID")
    asked = evidence(inventory([tag("1.0", "a")]), running)
    page = explain_item(asked, explain_manifest(asked, d("gone")))

    assert "is not in the registry. 1 use names it, but does not pull it." in str(page)
    pinned = use(None, "gone", name="other")
    asked = evidence(inventory([tag("1.0", "a")]), running, pinned)
    page = explain_item(asked, explain_manifest(asked, d("gone")))
    assert "is not in the registry, but 2 uses name it. The pods of 1 fail on their next pull." in str(page)


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (RetentionPolicy(scope=Scope.ALL), "in scope the scope is all"),
        (RetentionPolicy(scope=Scope.REFERENCED), "in scope it is referenced in production"),
        (RetentionPolicy(), "in scope it is running in production"),
        (RetentionPolicy(keep_last=1), "not newest it is not among the newest 1"),
        (RetentionPolicy(exclude_tags=("v*", "latest")), "not excluded exclude-tags does not match it (v*, latest)"),
        (RetentionPolicy(older_than=timedelta(hours=12)), "old enough pushed 2026-08-15, 100d ago, at least 12h"),
    ],
)
def test_rules_that_do_not_apply_show_their_evidence(policy: RetentionPolicy, line: str) -> None:
    asked = evidence(inventory([tag("1.0", "a"), tag("2.0", "b", days=90)]), use("2.0"), policy=policy)

    assert line in words_of(str(tag_page(asked, "1.0")))


def test_objects_of_controllers_come_last() -> None:
    def of(kind: str) -> ImageUse:
        return replace(use("1.0"), workload=Workload("production", "shop", kind, "web"))

    kinds = ["Pod", "ReplicaSet", "Job", "ConfigMap", "Deployment"]
    text = str(tag_page(evidence(inventory([tag("1.0", "a")]), *map(of, kinds)), "1.0"))

    kinds = re.findall(r"production/shop/(\w+)/web", text)
    assert kinds == ["Deployment", "ConfigMap", "Job", "ReplicaSet", "Pod"]


HOSTILE = st.text(st.sampled_from("ab:#[]\x1b\n\r\u202e\u200b<>|`*&\ud800"), max_size=12)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
@settings(max_examples=60, deadline=None)
def test_foreign_text_is_escaped(name: str, field: str, text: str, place: str) -> None:
    hostile = ImageUse(Workload(place, name, "Pod", name), place, field, text, use("1.0").reference, True)
    blocker = Blocker(place, name, text, field)
    scan = ClusterScan(place, (hostile, use("2.0")), (blocker,), access=name, notes=(text,))
    usage = UsageIndex.of([scan], NOW)
    asked = Evidence(inventory([tag("1.0", "a"), tag(f"x{name}", "b")]), usage, RetentionPolicy(), NOW)
    for page in (
        tag_page(asked, "1.0"),
        tag_page(asked, f"x{name}"),
        tag_page(asked, f"y{name}"),
        explain_repository(asked),
    ):
        shown = str(page)
        assert not re.search("[\x1b\r\u202e\u200b\ud800]", shown)
        assert "##" not in shown
        assert not re.search(r"::", shown)


@given(inventories(), named_uses(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_verdict_in_words_matches_the_decision(
    repository: RepositoryInventory, uses: list[ImageUse], blocked: bool
) -> None:
    asked = evidence(repository, *uses, use("something-else"), blockers=(BLOCKED,) if blocked else ())
    for name in NAMES:
        page = tag_page(asked, name)
        first = str(page).splitlines()[0]
        decision = explain_tag(asked, name).decision
        assert ("is not in the registry" in first) == (decision is None)
        assert ("would be deleted" in first) == (decision is not None and decision.deletes)
        assert (" is kept: " in first) == (decision is not None and not decision.deletes)
    for digest in DIGESTS:
        assert str(explain_item(asked, explain_manifest(asked, digest)))
    assert str(explain_repository(asked))
