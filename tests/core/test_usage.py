"""The usage index: who uses a tag or a digest, and what could not be read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, Outside, UsageIndex, is_workload_kind
from acr_cleanup.core.workload import Workload
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, use

PODS = Blocker("production", "list pods", "403 Forbidden.", "Grant list on pods.", "pods")
ROLLOUTS = Blocker("production", "list rollouts", "403.", "Grant it.", "Rollouts.argoproj.io")
UNKNOWN = Blocker("production", "list", "500.", "Try again.")


def of_another(used: ImageUse, repository: str) -> ImageUse:
    return replace(used, reference=replace(used.reference, repository=repository))


def test_index_finds_uses_by_tag_and_by_digest() -> None:
    """A reference with both is found by either. An open reference is found by neither."""
    tagged, pinned, both, either = use("1.0"), use(None, "a"), use("1.0", "a", name="both"), use(None, None)
    elsewhere = of_another(use("1.0", "a"), "shop/api")
    index = UsageIndex.of([ClusterScan("production", (tagged, pinned, both, either, elsewhere))], NOW)

    assert index.of_tag(REPOSITORY, "1.0") == (tagged, both)
    assert index.of_digest(REPOSITORY, d("a")) == (pinned, both)
    assert index.of_any(REPOSITORY) == (either,)
    assert index.of_tag("shop/api", "1.0") == index.of_digest("shop/api", d("a")) == (elsewhere,)
    assert index.tags(REPOSITORY) == {"1.0"}
    assert index.digests(REPOSITORY) == {d("a")}
    assert index.repositories == {REPOSITORY, "shop/api"}
    assert index.read_at == NOW


def test_open_reference_to_a_folder_is_one_to_each_repository_in_it() -> None:
    shop, web = of_another(use(None, None), "shop/"), of_another(use(None, None), "shop/web/")
    index = UsageIndex.of([ClusterScan("production", (shop, web))], NOW)

    assert index.of_any("shop/web/api") == (shop, web)
    assert index.of_any("shop/web") == (shop,)
    assert index.of_any("shop") == index.of_any("web/shop/api") == ()


def test_index_has_no_uses_of_unnamed_images() -> None:
    index = UsageIndex.of([ClusterScan("production", (use("1.0", "a"),))], NOW)

    assert index.of_tag(REPOSITORY, "2.0") == index.of_digest(REPOSITORY, d("b")) == index.of_any(REPOSITORY) == ()
    assert index.of_tag("other", "1.0") == index.of_digest("other", d("a")) == index.of_any("other") == ()
    assert index.tags("other") == index.digests("other") == frozenset()


def test_only_containers_of_pods_make_a_repository_run() -> None:
    stopped = of_another(use("1.0", running=False), "shop/api")
    index = UsageIndex.of([ClusterScan("production", (use("1.0"), stopped))], NOW)

    assert index.running == {REPOSITORY}
    assert index.repositories == {REPOSITORY, "shop/api"}
    one = use("1.0")
    assert not ImageUse(one.workload, one.container, one.field, one.text, one.reference).running


def test_scans_are_sorted_by_cluster() -> None:
    one, two = ClusterScan("a", (use("1.0"),)), ClusterScan("b", (use("1.0", name="other"),))

    assert UsageIndex.of([two, one], NOW) == UsageIndex.of(iter([one, two]), NOW)
    assert UsageIndex.of([two, one], NOW).of_tag(REPOSITORY, "1.0") == (*one.uses, *two.uses)


def test_blockers_of_all_scans_and_outside_count() -> None:
    outside = Outside(("one more cluster",), (UNKNOWN,))
    index = UsageIndex.of([ClusterScan("production", (), (PODS,)), ClusterScan("test", (), (ROLLOUTS,))], NOW, outside)

    assert index.blockers == (PODS, ROLLOUTS, UNKNOWN)
    assert UsageIndex.of([], NOW).blockers == ()
    assert UsageIndex.of([], NOW).outside == Outside()


def test_only_named_kinds_are_waived() -> None:
    """Case does not matter. A blocker of several kinds cannot be waived. Earlier waivers remain."""
    scan = ClusterScan("production", (use("1.0"),), (PODS, ROLLOUTS, UNKNOWN), waived=(replace(PODS, kind="jobs"),))

    index = scan.waive(["ROLLOUTS.argoproj.IO", ""])

    assert index.blockers == (PODS, UNKNOWN)
    assert index.waived == (*scan.waived, ROLLOUTS)
    assert index.uses == scan.uses
    assert scan.waive([]) == scan


def test_warnings_list_waived_kinds_and_notes() -> None:
    scan = ClusterScan("production", (), (PODS,), notes=("it is stopped.",)).waive(["pods"])
    index = UsageIndex.of([scan], NOW, Outside(("Cluster `x` pulls as well.",)))

    assert index.warnings == (
        "production: pods is waived (list pods: 403 Forbidden). Images used only by these objects count as unused.",
        "production: it is stopped.",
        "Cluster `x` pulls as well.",
    )


def test_workloads_uses_and_blockers_are_written_for_people() -> None:
    assert str(Workload("production", "shop", "Deployment", "web")) == "production/shop/Deployment/web"
    assert str(Workload("production", "", "Node", "one")) == "production/Node/one"
    assert str(use("1.0")) == "production/shop/Deployment/web (main)"
    assert str(replace(use("1.0"), container="")) == "production/shop/Deployment/web"
    assert str(PODS) == "production: list pods: 403 Forbidden. Grant list on pods."


def test_waived_answer_is_quoted_without_its_full_stop() -> None:
    waived = ClusterScan("production", waived=(replace(PODS, seen="403 from proxy XX."),))

    assert "(list pods: 403 from proxy XX)." in UsageIndex.of([waived], NOW).warnings[0]


@pytest.mark.parametrize("written", ["cronjobs.batch", "cronjobs", "CronJob", "cronjob.batch", "CRONJOBS"])
def test_waiver_names_a_kind_as_kubectl_does(written: str) -> None:
    scan = ClusterScan("prod", blockers=(Blocker("prod", "list cronjobs.batch", "403", "", "cronjobs.batch"),))
    assert scan.waive([written]).blockers == ()
    assert scan.waive([written]).notes == ()


def test_waiver_that_matches_nothing_is_noted() -> None:
    scan = ClusterScan("prod", blockers=(Blocker("prod", "list cronjobs.batch", "403", "", "cronjobs.batch"),))
    (note,) = scan.waive(["cronjob.bach"]).notes
    assert "did you mean cronjobs.batch" in note
    assert scan.waive(["cronjob.bach"]).blockers == scan.blockers


def test_workload_kinds_are_known_in_every_form() -> None:
    """As kubectl writes them: plural, with its group, or the name of the kind."""
    assert all(map(is_workload_kind, ("pods", "Deployment", "cronjobs.batch")))
    assert not any(map(is_workload_kind, ("rollouts.argoproj.io", "configmaps", "")))
