"""The rows of the truth table of mentions: folders, open references, and texts that mention no image."""

from __future__ import annotations

from tests.helpers.mention_builders import ALL, X, config_map, custom, deployment, env, obj, row

T = {"shop/web": ["1.4.2", "canary", "1.4.1", "old"]}
FOLDER = [
    row(
        "folder: KubeVirt",
        custom(imageRegistry=f"{X}/kubevirt", imageTag="v1.1.0"),
        {"kubevirt/virt-api": ["v1.1.0", "v1.0.0"], "kubevirt/virt-handler": ["v1.1.0", "v1.0.0"]},
        {"kubevirt/virt-api": ["v1.1.0"], "kubevirt/virt-handler": ["v1.1.0"]},
    ),
    row(
        "folder: behind a variable",
        custom(hub="$(REG)/istio", tag="1.20.1"),
        {"istio/pilot": ["1.20.1", "1.19.0"]},
        {"istio/pilot": ["1.20.1"]},
    ),
    row(
        "folder: with a plain tag",
        custom(hub=f"{X}/istio", tag="stable"),
        {"istio/pilot": ["stable", "beta"]},
        {"istio/pilot": ["stable"]},
    ),
]
OPEN = [
    row(f"open: {title}", value, T, {"shop/web": ALL})
    for title, value in {
        "Go template": config_map(v="image: shop/web:{{ .Values.tag }}\n"),
        "variable": deployment(env=env(IMAGE=f"{X}/shop/web:$(TAG)")),
        "shell variable": config_map(v=f"docker run {X}/shop/web:${{TAG}}"),
        "half a tag": config_map(v=f"image: {X}/shop/web:1.4.{{{{ .patch }}}}"),
        "code": config_map(v=f'image = "{X}/shop/web:" + tag'),
        "percent": config_map(v=f'fmt.Sprintf("{X}/shop/web:%s", tag)'),
        "a range of Flux": custom(url=f"oci://{X}/shop/web", ref={"semver": ">=1.0.0 <2.0.0"}),
        "a range of a chart": [
            obj("HelmRepository", {"spec": {"url": f"oci://{X}/shop"}}),
            obj("HelmRelease", {"spec": {"chart": {"spec": {"chart": "web", "version": "1.x"}}}}),
        ],
        "a range of Argo CD": obj(
            "Application", {"spec": {"source": {"repoURL": X, "chart": "shop/web", "targetRevision": "1.*"}}}
        ),
        "a chart without a version": [
            obj("HelmRepository", {"spec": {"url": f"oci://{X}/shop"}}),
            obj("HelmRelease", {"spec": {"chart": {"spec": {"chart": "web", "sourceRef": {"name": "acr"}}}}}),
        ],
        "an image without a tag": custom(image=f"{X}/shop/web"),
        "a template as the tag": custom(image={"repository": "$(REG)/shop/web", "tag": "{{ .Values.tag }}"}),
    }.items()
] + [
    row(
        "open: latest, if the registry has it",
        custom(image=f"{X}/shop/web"),
        {"shop/web": ["latest", "1.4.2"]},
        {"shop/web": ["latest"]},
    ),
]
NOT = [
    row(f"nothing: {title}", value, T, {})
    for title, value in {
        "the name alone": custom(app="web"),
        "the tag alone": custom(version="1.4.2"),
        "another longer path": config_map(v="image: team/other/web:1.4.2\n"),
        "a longer word": config_map(v="image: webhook:1.4.2 my-web:canary web2:canary web.example:1.4.2x\n"),
        "a beginning of a path": config_map(v=f"image: {X}/shop/web/sidecar:1.4.2\n"),
        "a longer tag": custom(image="shop/web:1.4.20", note="v1.4.22 1.4.2-rc1"),
        "API versions": obj("Thing", {"spec": {"name": "web"}}, api="v1.4.2/canary"),
        "managed fields": obj("Thing", {}, managedFields=[{"fieldsV1": {"shop/web:1.4.2": {}}}]),
        "owners": obj("Thing", {}, ownerReferences=[{"name": "web", "uid": "1.4.2"}]),
        "conditions": obj("Thing", {"status": {"conditions": [{"message": "pulled shop/web:1.4.2"}]}}),
        "a chart of another registry": obj(
            "HelmRelease", {"spec": {"chart": {"spec": {"chart": "web", "version": "1.x"}}}}
        ),
        "a foreign image in a pod spec": deployment("docker.io/library/web:1.4.2"),
        "a pattern of a policy": obj(
            "ClusterPolicy", {"spec": {"imageReferences": [f"{X}/shop/web:*", f"{X}/shop/web*", f"{X}/*"]}}
        ),
        "a port": config_map(v="upstream: http://web:${PORT}\nother: web:$WEB_PORT\n"),
        "numbers that are no values near it": custom(name="shop/web", a={"b": {"c": {"d": 1}}}),
        "namespace and labels": deployment(
            meta={"name": "web", "namespace": "canary", "labels": {"app": "web", "track": "canary"}}
        ),
        "what Flux saw": obj(
            "ImageRepository",
            {
                "spec": {"interval": "5m"},
                "status": {"lastScanResult": {"latestTags": ["1.4.2", "canary"]}, "name": "web"},
            },
        ),
    }.items()
] + [
    row(
        "nothing: neighbours of a monorepo",
        [
            obj(
                "Deployment",
                {
                    "spec": {
                        "template": {
                            "spec": {
                                "containers": [
                                    {"name": "web", "image": f"{X}/shop/web:1.4.2"},
                                    {"name": "api", "image": f"{X}/shop/api:1.4.1"},
                                ]
                            }
                        }
                    }
                },
                api="apps/v1",
            )
        ],
        {"shop/web": ["1.4.2", "1.4.1"], "shop/api": ["1.4.2", "1.4.1"]},
        {"shop/web": ["1.4.2"], "shop/api": ["1.4.1"]},
    ),
    row(
        "nothing: neighbours in a list",
        config_map(v=f"{X}/shop/web:1.4.2\n{X}/shop/api:1.4.1\nquay.io/x/y:1.4.0\n"),
        {"shop/web": ["1.4.2", "1.4.1", "1.4.0"], "shop/api": ["1.4.2", "1.4.1"]},
        {"shop/web": ["1.4.2"], "shop/api": ["1.4.1"]},
    ),
    row(
        "nothing: labels of another version",
        obj(
            "Deployment",
            {
                "spec": {
                    "template": {
                        "metadata": {"labels": {"app.kubernetes.io/version": "1.4.1", "helm.sh/chart": "web-1.4.0"}},
                        "spec": {"containers": [{"name": "web", "image": "docker.io/x/y:1"}]},
                    }
                }
            },
            api="apps/v1",
        ),
        {"shop/web": ["1.4.1", "1.4.0"]},
        {},
    ),
]
