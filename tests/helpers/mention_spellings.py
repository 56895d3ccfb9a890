"""The rows of the truth table of mentions for spellings: how names, tags and what separates them are written."""

from __future__ import annotations

from tests.helpers.mention_builders import X, config_map, custom, row

T = {"shop/web": ["canary", "old"]}
SPELLINGS = [
    row(f"spelling: {title}", value, T, {"shop/web": ["canary"]})
    for title, value in {
        "package URL": custom(purl="pkg:docker/shop/web@canary?arch=amd64"),
        "package URL of an artifact": custom(purl=f"pkg:oci/web?repository_url={X}%2Fshop%2Fweb&tag=canary"),
        "capitals": config_map(v=f"{X.upper()}/SHOP/WEB:canary"),
        "italics": config_map(v="It runs _shop/web:canary_ now."),
        "user and password": config_map(v=f"https://ci:x@{X}/v2/shop/web/manifests/canary"),
        "page of a portal": config_map(v="https://portal.example/#view/registries/x/repository/shop%2Fweb/tag/canary"),
    }.items()
] + [
    row(f"spelling: {title}", value, {"shop/web": [stays, goes]}, {"shop/web": [stays]})
    for title, value, stays, goes in (
        ("commit in full", custom(image="shop/web", commit="a1b2c3d" * 5 + "e4f5a"), "sha-a1b2c3d", "sha-d3c2b1a"),
        ("short commit", custom(image="shop/web", commit="a1b2c3d"), "a1b2c3d" * 5 + "e4f5a", "d3c2b1a" * 5 + "e4f5a"),
        ("branch", custom(image="shop/web", branch="Feature/ABC-12"), "feature-abc-12", "feature-abc-13"),
        ("build behind a plus", custom(image="shop/web", version="v1.28.2+k3s1"), "v1.28.2-k3s1", "v1.27.2-k3s1"),
        ("beginning", custom(image="shop/web", version="1.4.2"), "release-1.4.2", "release-1.4.1"),
    )
]
