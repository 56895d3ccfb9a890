"""
The texts of an API object with their places, so that their neighbours can be found later. Pure.

Texts that say nothing about images are left out: identities, `apiVersion`, `kind`, conditions. JSON in a text is walked
like the rest of the object. Unpacked text (`unpack`) has the place of its packed form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache, partial
from typing import Any, NamedTuple, Self

import msgspec

from acr_cleanup.clusters.images.unpack import Budget, unpacked, unpacked_run
from acr_cleanup.core.references import ImageReference, parse_reference
from acr_cleanup.errors import InvalidReference
from acr_cleanup.quoting import quoted

CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")

NOT_VALUES = frozenset(
    {"apiVersion", "kind", "uid", "resourceVersion", "creationTimestamp", "managedFields", "latestTags", "containerID"}
)
"""
Keys whose values are no tags, and no digests of images: `latestTags` are those that Flux has seen in the registry.
"""
_LEFT_OUT: Mapping[object, frozenset[object]] = {
    "metadata": frozenset({"generation", "ownerReferences", "selfLink"}),
    "status": frozenset({"conditions"}),
    "labels": frozenset(
        {"pod-template-hash", "controller-revision-hash", "controller-uid", "batch.kubernetes.io/controller-uid"}
    ),
}
SECRET_WORDS = ("password", "passwd", "passphrase", "secret", "token", "credential", "private")
"""Variables whose names contain one of these hold no images, unless their value has a slash."""
_NOTHING: frozenset[object] = frozenset()
_LABELS = frozenset({"labels", "matchLabels"})
_VERSION_LABELS = frozenset({"app.kubernetes.io/version", "helm.sh/chart", "version"})
_LONGEST_PATH = 64
_DEEPEST_JSON = 4
_LONGEST_JSON = 16 << 20
_RUN = re.compile(r"[A-Za-z0-9_.\-/:@+$%]{40,}")
_HEX_RUN = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")
_SHORTEST_RUN = 40
_SHORT, _ROOM = 100, 4096
_MOST_SEARCHED = 200


class Number(float):
    """A number of a document as it is written: a tag may be `1.10`."""

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str

    def __repr__(self) -> str:
        return self.text

    def is_integer(self) -> bool:
        return False


_DOCUMENT = msgspec.json.Decoder(float_hook=Number)


class Node:
    """A mapping or list of an object, with its parent. `field`: the place of a document inside a text."""

    __slots__ = ("field", "key", "parent", "value")

    def __init__(self, value: Any, parent: Node | None, key: object, field: str | None = None) -> None:
        self.value, self.parent, self.key, self.field = value, parent, key, field

    def path(self, *keys: object) -> str:
        parts = [_step(key) for key in reversed(keys)]
        node: Node | None = self
        while node is not None:
            if node.field is not None:
                parts.append(node.field)
                break
            if node.parent is not None:
                parts.append(_step(node.key))
            node = node.parent
        if len(parts) > _LONGEST_PATH:
            parts = [*parts[: _LONGEST_PATH // 2], "[…]", *parts[-_LONGEST_PATH // 2 :]]
        return "".join(reversed(parts)).removeprefix(".")


def _step(key: object) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    name = str(key)
    return f".{name}" if name.isascii() and name.isidentifier() else _quoted_step(name[:200])


@lru_cache(maxsize=1024)
def _quoted_step(name: str) -> str:
    return f"[{quoted(name, 100)}]"


class Text(NamedTuple):
    """One text, in the field `key` of `node`. `is_key`: it is the name of that field itself."""

    text: str
    node: Node
    key: object
    is_key: bool = False

    @property
    def field(self) -> str:
        return self.node.path() if self.key is None else self.node.path(self.key)


# A pod has hundreds of texts, and the constructor of a named tuple would take most of their time.
_new_text = partial(tuple.__new__, Text)


class QuietMapping(dict[str, Any]):
    """
    A mapping of which some fields need not be walked, because no name can stand there (`quiet_parts`).

    words: the texts of these fields, joined. own: the other fields.
    """

    __slots__ = ("own", "words")

    def __init__(self, value: Mapping[str, Any], words: bytes, own: tuple[str, ...] = ()) -> None:
        super().__init__(value)
        self.words, self.own = words, own

    def copy(self) -> QuietMapping:
        return QuietMapping(self, self.words, self.own)


def fields_of(mapping: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """The fields of a mapping that must be walked."""
    if isinstance(mapping, QuietMapping):
        return [(key, mapping[key]) for key in mapping.own if key in mapping]
    return mapping.items()


class ContainerImage(NamedTuple):
    """The image field of a container, which was parsed as a reference and is not read as text."""

    field: str
    container: str
    text: str
    reference: ImageReference


class ObjectTexts:
    """
    texts: all texts but those parsed exactly.
    versions: the values of labels that say the version of the object's own images.
    images: the image fields of containers, in pod specs of any kind.
    """

    def __init__(self, obj: Any, field: str | None = None) -> None:
        self.texts: list[Text] = []
        self._quiet: list[bytes] = []
        self.versions: list[str] = []
        self.images: list[ContainerImage] = []
        self._budget = Budget()
        # Held, so that no other value gets the same id.
        self._walked: dict[int, object] = {}
        self._walk(Node(obj, None, "", field), 0)

    def _walk(self, root: Node, depth: int) -> None:
        nodes = [root]
        if isinstance(root.value, str):
            self._text(Text(root.value, Node({}, None, "", root.field or ""), None), depth)
            return
        while nodes:
            node = nodes.pop()
            value = node.value
            # An alias of YAML may lead to the same mapping a thousand times.
            if id(value) in self._walked or not isinstance(value, (dict, list)):
                continue
            self._walked[id(value)] = value
            inner = self._mapping(node, depth) if isinstance(value, dict) else self._list(node, depth)
            inner.reverse()
            nodes += inner

    def _mapping(self, node: Node, depth: int) -> list[Node]:
        left_out = _SECRET_VALUE if is_secret(node.value) else _LEFT_OUT.get(node.key, _NOTHING)
        is_labels = node.key in _LABELS
        inner: list[Node] = []
        if isinstance(node.value, QuietMapping):
            self._quiet.append(node.value.words)
        for key, child in fields_of(node.value):
            if key in NOT_VALUES or key in left_out:
                continue
            if isinstance(key, str):
                self.texts.append(_new_text((key, node, key, True)))
            if isinstance(child, str):
                if is_labels and key in _VERSION_LABELS:
                    self.versions.append(child)
                elif key != "reference" or not self._image_volume(node, child):
                    self._text(_new_text((child, node, key, False)), depth)
            elif isinstance(child, list) and key in CONTAINER_LISTS:
                inner += self._containers(Node(child, node, key), depth)
            elif isinstance(child, (dict, list)):
                inner.append(Node(child, node, key))
        return inner

    def _list(self, node: Node, depth: int) -> list[Node]:
        inner: list[Node] = []
        for index, child in enumerate(node.value):
            if isinstance(child, str):
                self._text(_new_text((child, node, index, False)), depth)
            elif isinstance(child, (dict, list)):
                inner.append(Node(child, node, index))
        return inner

    def _image_volume(self, node: Node, text: str) -> bool:
        reference = parsed(text) if node.key == "image" else None
        if reference is not None:
            self._image(node, "reference", "", text, reference)
        return reference is not None

    def _text(self, text: Text, depth: int) -> None:
        content = text.text
        start = content[:64].lstrip()[:1]
        if start in ("{", "[") and depth < _DEEPEST_JSON and len(content) <= _LONGEST_JSON:
            try:
                document = _DOCUMENT.decode(content)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                document = None
            if isinstance(document, dict | list):
                self._walk(Node(document, text.node, text.key, text.field), depth + 1)
                return
        self.texts.append(text)
        short = _packed_in(content) if len(content) <= _SHORT and self._budget.left > _ROOM else None
        if short is not None:
            self._budget.left -= sum(map(len, short))
        for inside in unpacked(content, self._budget) if short is None else short:
            self.texts.append(text._replace(text=inside))

    def data(self) -> bytes:
        """All texts, joined by line breaks."""
        data = "\n".join([text.text for text in self.texts]).encode(errors="replace")
        return b"\n".join((data, *self._quiet)) if self._quiet else data

    def unpack(self, runs: Iterable[str]) -> str:
        """Add what is packed in these runs of base64 inside of longer texts, and return it."""
        packed = {run: inside for run in runs if (inside := list(unpacked_run(run, self._budget)))}
        for run, holder in (self.holders(packed.keys()) if packed else {}).items():
            self.texts += [holder._replace(text=text) for text in packed[run]]
        return "\n".join(text for inside in packed.values() for text in inside)

    def holders(self, runs: AbstractSet[str]) -> dict[str, Text]:
        """
        Return the first text that contains each of these long runs.

        One pass finds most of them. Searching each text for each run costs the square of their number.
        """
        holders: dict[str, Text] = {}
        for text in self.texts:
            if len(text.text) >= _SHORTEST_RUN:
                for match in _RUN.finditer(text.text):
                    for run in (match[0], *map(str.lower, _HEX_RUN.findall(match[0]))):
                        if run in runs:
                            holders.setdefault(run, text)
        for run in list(runs - holders.keys())[:_MOST_SEARCHED]:
            if holder := next((text for text in self.texts if run in text.text), None):
                holders[run] = holder
        return holders

    def _containers(self, containers: Node, depth: int) -> Iterator[Node]:
        """The containers of a list, without the image fields that are references: those are understood."""
        for index, container in enumerate(containers.value):
            node = Node(container, containers, index)
            image = container.get("image") if isinstance(container, dict) else None
            if isinstance(image, str) and (reference := parsed(image)) is not None:
                name = container.get("name")
                self._image(node, "image", name if isinstance(name, str) else "", image, reference)
                node.value = container.copy()
                del node.value["image"]
            if isinstance(container, str):
                self._text(Text(container, containers, index), depth)
            elif isinstance(container, (dict, list)):
                yield node

    def _image(self, node: Node, key: str, container: str, text: str, reference: ImageReference) -> None:
        place = node.path(key)
        self.images.append(ContainerImage(place, container, text, reference))


@lru_cache(maxsize=4096)
def _packed_in(text: str) -> tuple[str, ...] | None:
    """Unpack a short text, because objects repeat most of these. None if the result may have been cut."""
    budget = Budget(_ROOM)
    packed = tuple(unpacked(text, budget))
    # A cut result may have only a quarter of the characters: UTF-8 takes up to four bytes for one.
    return packed if budget.left > _ROOM * 7 // 8 else None


_SECRET_VALUE: frozenset[object] = frozenset({"value"})


def is_secret(variable: Mapping[Any, Any]) -> bool:
    """Is this a variable with a secret? A run command does not transfer its value either."""
    name, value = variable.get("name"), variable.get("value")
    if not isinstance(name, str) or not isinstance(value, str) or "/" in value:
        return False
    lower = name.lower()
    return any(word in lower for word in SECRET_WORDS)


def parsed(image: str) -> ImageReference | None:
    """The reference in an image field; None if no runtime could start it: a template, or nonsense."""
    try:
        return parse_reference(image) if image.strip() else None
    except InvalidReference:
        return None
