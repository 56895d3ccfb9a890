"""Who uses what: the index answers by tag, by digest and for what may mean anything, and tells what it could not see."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, Outside, UsageIndex, Workload
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, use

PODS = Blocker("production", "list pods", "403 Forbidden.", "Grant list on pods.", "pods")
ROLLOUTS = Blocker("production", "list rollouts", "403.", "Grant it.", "Rollouts.argoproj.io")
UNKNOWN = Blocker("production", "list", "500.", "Try again.")


def of_another(used: ImageUse, repository: str) -> ImageUse:
    return replace(used, reference=replace(used.reference, repository=repository))


def test_an_index_answers_for_the_tag_and_the_digest_of_one_repository() -> None:
    """A reference with both is found by either; one with neither may mean any image, and is found by none of them."""
    tagged, pinned, both, either = use("1.0"), use(None, "a"), use("1.0", "a", name="both"), use(None, None)
    elsewhere = of_another(use("1.0", "a"), "shop/api")
    found = UsageIndex.of([ClusterScan("production", (tagged, pinned, both, either, elsewhere))], NOW)

    assert found.of_tag(REPOSITORY, "1.0") == (tagged, both)
    assert found.of_digest(REPOSITORY, d("a")) == (pinned, both)
    assert found.of_any(REPOSITORY) == (either,)
    assert found.of_tag("shop/api", "1.0") == found.of_digest("shop/api", d("a")) == (elsewhere,)
    assert found.tags(REPOSITORY) == {"1.0"}
    assert found.digests(REPOSITORY) == {d("a")}
    assert found.repositories == {REPOSITORY, "shop/api"}
    assert found.read_at == NOW


def test_an_index_knows_nothing_of_what_nobody_names() -> None:
    found = UsageIndex.of([ClusterScan("production", (use("1.0", "a"),))], NOW)

    assert found.of_tag(REPOSITORY, "2.0") == found.of_digest(REPOSITORY, d("b")) == found.of_any(REPOSITORY) == ()
    assert found.of_tag("other", "1.0") == found.of_digest("other", d("a")) == found.of_any("other") == ()
    assert found.tags("other") == found.digests("other") == frozenset()


def test_only_containers_of_pods_make_a_repository_run() -> None:
    stopped = of_another(use("1.0", running=False), "shop/api")
    found = UsageIndex.of([ClusterScan("production", (use("1.0"), stopped))], NOW)

    assert found.running == {REPOSITORY}
    assert found.repositories == {REPOSITORY, "shop/api"}
    one = use("1.0")
    assert not ImageUse(one.workload, one.container, one.field, one.text, one.reference).running


def test_scans_are_told_by_name_in_whatever_order_they_come() -> None:
    one, two = ClusterScan("a", (use("1.0"),)), ClusterScan("b", (use("1.0", name="other"),))

    assert UsageIndex.of([two, one], NOW) == UsageIndex.of(iter([one, two]), NOW)
    assert UsageIndex.of([two, one], NOW).of_tag(REPOSITORY, "1.0") == (*one.uses, *two.uses)


def test_what_could_not_be_seen_blocks_wherever_it_is() -> None:
    outside = Outside(("one more cluster",), (UNKNOWN,))
    found = UsageIndex.of([ClusterScan("production", (), (PODS,)), ClusterScan("test", (), (ROLLOUTS,))], NOW, outside)

    assert found.blockers == (PODS, ROLLOUTS, UNKNOWN)
    assert UsageIndex.of([], NOW).blockers == ()
    assert UsageIndex.of([], NOW).outside == Outside()


def test_only_the_kinds_that_are_named_are_given_up() -> None:
    """In whatever case; never one that is more than one kind; and what was given up before stays given up."""
    scan = ClusterScan("production", (use("1.0"),), (PODS, ROLLOUTS, UNKNOWN), waived=(replace(PODS, kind="jobs"),))

    found = scan.waive(["ROLLOUTS.argoproj.IO", ""])

    assert found.blockers == (PODS, UNKNOWN)
    assert found.waived == (*scan.waived, ROLLOUTS)
    assert found.uses == scan.uses
    assert scan.waive([]) == scan


def test_warnings_say_what_was_given_up_and_what_else_is_to_know() -> None:
    scan = ClusterScan("production", (), (PODS,), notes=("it is stopped.",)).waive(["pods"])
    found = UsageIndex.of([scan], NOW, Outside(("Cluster `x` pulls as well.",)))

    assert found.warnings == (
        "production: pods is waived (list pods: 403 Forbidden). Images used only by these objects count as unused.",
        "production: it is stopped.",
        "Cluster `x` pulls as well.",
    )


def test_objects_uses_and_blockers_are_written_as_people_name_them() -> None:
    assert str(Workload("production", "shop", "Deployment", "web")) == "production/shop/Deployment/web"
    assert str(Workload("production", "", "Node", "one")) == "production/Node/one"
    assert str(use("1.0")) == "production/shop/Deployment/web (main)"
    assert str(replace(use("1.0"), container="")) == "production/shop/Deployment/web"
    assert str(PODS) == "production: list pods: 403 Forbidden. Grant list on pods."


def test_an_answer_that_was_waived_is_told_whole_but_for_its_full_stop() -> None:
    waived = ClusterScan("production", waived=(replace(PODS, seen="403 from proxy XX."),))

    assert "(list pods: 403 from proxy XX)." in UsageIndex.of([waived], NOW).warnings[0]
