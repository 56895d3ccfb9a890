"""Expressions for the text around a name: tags, templates, ranges, patterns of policies."""

from __future__ import annotations

import re

from acr_cleanup.core.references import TAG

_BLANK = r"[ \t\u00a0]"
# Between a name and its tag may be: a sign of assignment, a dash or an arrow, a blank, or elements of HTML.
_BETWEEN = (
    rf"{_BLANK}{{0,20}}(?:[,:=|;#\uff1a][>=]?|[-=]>|[\u2192\u21d2\u2013\u2014]){_BLANK}{{0,20}}"
    rf"|{_BLANK}{{1,20}}(?:-{{1,3}}{_BLANK}{{1,20}})?|(?:</?[A-Za-z][^<>]{{0,60}}>{_BLANK}{{0,20}}){{1,4}}"
)
AFTER = re.compile(
    rf"[\"'`\])*\u201d\u2019]{{0,3}}(?:{_BETWEEN})[\"'\[(`*\u201c\u2018]{{0,3}}(v?{TAG}(?:\+[A-Za-z0-9_.-]*)?)(?![:/@A-Za-z0-9_-])"
)
# Further tags behind the first: `web:canary,stable`.
NEXT_TAG = re.compile(rf",({TAG})(?![A-Za-z0-9_./@=-]|:\S)")
# `web:` and then a quote, or a bracket.
AFTER_COLON = re.compile(rf"[ \t]?[\"'\[(`]{{1,3}}[ \t]?({TAG})")
# A template, variable or expression that directly follows `web:`; a port is no tag.
OPEN = re.compile(
    r"\{\{|\$[({A-Za-z_\[]|`[a-z./]+ [^`\n]+`|%[a-zA-Z({]|\{[A-Za-z0-9_.}]|<[A-Za-z_.%]|\[\[|#\{|\\\(|@@?[A-Za-z]"
    r"|[\"'`)]{1,3}[ ]?(?:\+|\.|\|\||&|%|,)[ ]?[A-Za-z_$({\"']"
)
OPEN_APART = re.compile(
    r"(?:[\"'`)} ]{1,8}|[\"'][^\"'{}\n]{0,60}\}\})"
    r"(?:[:@][\"' ]{0,3}(?:\{\{|\$[({A-Za-z_]|%[a-z(])|(?:\+|\.\.?|&|~|<>|\|\|)[ ]?[\"'][:@])"
)
PORT = re.compile(r".{0,40}?port", re.IGNORECASE | re.DOTALL)
# The address of something else than an image.
ADDRESS = re.compile(r"(?:git\+)?(?:https?|ssh|git|file|s3)://", re.IGNORECASE).match
# A template follows, so the text is only a part of a tag: `web:1.2-{{ … }}`.
GOES_ON = re.compile(
    r"[-_.]?(?:\{\{?[A-Za-z. $_(]|\$[({A-Za-z_]|%[a-z({]|<[A-Za-z_]|\[\[|#\{)|\*(?!\*)|[~^]|\[[0-9a-zA-Z]|\\[dw.*+]|\(\?"
)
PATTERN = re.compile(r":?\*|\[|\\?[.][*+]|\(\?")
RANGE_BESIDE = re.compile(r":?[~^<>]=?[0-9]|:v?[0-9]+(?:\.[0-9]+)*\.[xX*](?![A-Za-z0-9])")
HOST_AND_SLASH = re.compile(rb"[.][A-Za-z0-9.-]+(?::[0-9]+)?/").search
UNCLEAR = re.compile(
    r"(?:https?://)?(?<![A-Za-z0-9._/@-])(?P<host>[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++(?::[0-9]++)?+)/[a-z0-9._/-]*+"
    r"(?=\{|\$[A-Za-z({]|%[a-z({]|<[A-Za-z]|[A-Z])"
)
VERIFYING_GROUPS = frozenset(
    {"constraints.gatekeeper.sh", "templates.gatekeeper.sh", "admissionregistration.k8s.io", "policy.sigstore.dev"}
)
"""
Groups of policies that compare images with beginnings of names. A name without a tag selects images there, and starts none.
"""
CHART_SOURCES = frozenset({"HelmRepository", "HelmChartRepository", "ClusterRepo", "AppProject"})
# Brackets separate chunks: behind `${NAME}`, `{{ name }}` and `$(NAME)-api`, a chunk begins with the rest of the name.
BEHIND_VARIABLE = re.compile(rf"(?:|[-_.][a-z0-9._-]*|[^:]*[$%][A-Za-z_][A-Za-z0-9_]*):({TAG})".encode()).fullmatch
# `X/shop/{{ name }}-api:1.2`, behind the folder.
TAG_BEHIND_VARIABLE = re.compile(rf"[({{]{{1,2}}[^(){{}}\n]{{1,80}}[)}}]{{1,2}}[a-z0-9._-]{{0,80}}:({TAG})")
# `web:TAG`, `web:__VERSION__`: a program puts the tag in its place.
PLACEHOLDER = re.compile(r"_*(?:[A-Z]+_)*(?:TAG|VERSION|SHA|COMMIT|REVISION|DIGEST|RELEASE|PLACEHOLDER)_*").fullmatch
