"""The registries of Azure that the objects of a cluster name."""

from __future__ import annotations

import pytest

from acr_cleanup.clusters.images.registry_hosts import RegistryHosts
from acr_cleanup.core.references import RegistryHost


@pytest.mark.parametrize(
    ("pages", "registries"),
    [
        ([b"nothing"], ()),
        ([b"a.azurecr.io/x", b"B.azurecr.us:443 c.azurecr.cn"], ("a.azurecr.io", "b.azurecr.us", "c.azurecr.cn")),
        ([b"x shop-1.weu.geo.azurecr.io/web"], ("shop-1.weu.geo.azurecr.io",)),
        ([b" .azurecr.io a.azurecr.com"], ()),
        ([b" ".join(b"r%d.azurecr.io" % number for number in range(30))], tuple(f"r{number}.azurecr.io" for number in range(10))),
        ([b"a.azurecr.io", b"x/contoso.azurecr.io/y"], ()),
        ([b"a.azurecr.io CONTOSO.azurecr.io b.azurecr.io"], ()),
        ([b"a.azurecr.io", b"images.contoso.com/y"], ()),
        ([b"images.contoso.com/y", b"a.azurecr.io"], ()),
    ],
)  # fmt: skip
def test_other_registries_are_named_until_the_registry_itself_is(
    pages: list[bytes], registries: tuple[str, ...]
) -> None:
    hosts = RegistryHosts(RegistryHost("contoso.azurecr.io", frozenset({"images.contoso.com"})))
    for page in pages:
        hosts.look(page)
    assert hosts.registries == registries
    assert hosts.named == any(b"contoso" in page.lower() for page in pages)
