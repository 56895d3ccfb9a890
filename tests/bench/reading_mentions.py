"""
Read generated objects in one way, and print CPU seconds and peak memory as JSON.

`python -m tests.bench.reading_mentions WORLD WAY`. The time to generate the objects is not counted.
"""

from __future__ import annotations

import base64
import json
import random
import resource
import sys
import time
from collections.abc import Iterator

import msgspec

from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.api_server.pages import ObjectReader
from acr_cleanup.clusters.images.mention_index import MentionIndex
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.references import RegistryHost

HOST = "contoso.azurecr.io"
chance = random.Random(7)
WORDS = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 10))) for _ in range(3000)]


def text(size: int) -> str:
    """A text like a file of values: keys, words, versions and numbers."""
    lines: list[str] = []
    length = 0
    while length < size:
        version = f"{chance.randint(0, 9)}.{chance.randint(0, 30)}.{chance.randint(0, 9)}"
        value = chance.choice([*chance.choices(WORDS, k=6), version, str(chance.randint(1, 999))])
        lines.append(f"{'  ' * chance.randint(0, 4)}{chance.choice(WORDS)}: {value}")
        length += len(lines[-1]) + 1
    return "\n".join(lines)


def config_map(number: int, content: str) -> bytes:
    metadata = {"name": f"settings-{number}", "namespace": "shop", "labels": {"app": "settings"}}
    return json.dumps({"metadata": metadata, "data": {"values.yaml": content}}).encode()


def objects() -> tuple[list[str], Iterator[bytes]]:
    """Every fourth object names a repository."""
    repositories = [f"team{number % 40}/{chance.choice(WORDS)}-{number}" for number in range(2000)]
    texts = [text(19_000) for _ in range(200)]

    def make() -> Iterator[bytes]:
        for number in range(10_000):
            named = f"\nimage: {HOST}/{chance.choice(repositories)}\ntag: 1.{number}\n" if number % 4 == 0 else ""
            yield config_map(number, f"{number}\n{texts[number % 200]}{named}")

    return repositories, make()


def large() -> tuple[list[str], Iterator[bytes]]:
    lines = text(30_000).split("\n")

    def make() -> Iterator[bytes]:
        for number in range(400):
            body = "\n".join(lines[number % 100 :] * 32)
            yield config_map(number, f"{body[: 900 << 10]}\nimage: {HOST}/shop/web:{number}\n")

    return ["shop/web", "shop/api"], make()


def distinct() -> tuple[list[str], Iterator[bytes]]:
    """Texts in which nearly every word occurs once."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    body = " ".join("".join(chance.choices(alphabet, k=chance.randint(4, 12))) for _ in range(102_000))[: 900 << 10]

    def make() -> Iterator[bytes]:
        for number in range(400):
            other = str.maketrans(alphabet, "".join(random.Random(number).sample(alphabet, len(alphabet))))
            yield config_map(number, f"{body.translate(other)}\nimage: {HOST}/shop/web:{number}\n")

    return ["shop/web", "shop/api"], make()


def short() -> tuple[list[str], Iterator[bytes]]:
    """20,000 repositories with the shortest names, and objects that say `latest`."""
    repositories = ["a", "b", "1", *(f"{number:x}/{number % 36:x}" for number in range(20_000))]
    line = "image: a tag: latest b 1 c:1 a/b:latest"
    return repositories, (config_map(number, f"{number}\n" + f"{line} {number}\n" * 100) for number in range(500))


def unbroken() -> tuple[list[str], Iterator[bytes]]:
    """Texts of one MiB without a blank: base64, digits, and a path."""
    packed = base64.b64encode(chance.randbytes(3 << 18)).decode()
    digits = chance.randbytes(1 << 19).hex()
    path = "".join(f"/{HOST}/shop/web-{number}:1.{number}" for number in range(1 << 15))
    forms = [packed, digits, path[: 1 << 20]]
    return ["shop/web"], (config_map(n, f"{n}{forms[n % 3]}") for n in range(60))


def words() -> tuple[list[str], Iterator[bytes]]:
    repositories = [*WORDS, *(f"team{number}/{WORDS[number % 3000]}" for number in range(17_000)), "a", "b", "1"]
    texts = [text(5_000) for _ in range(50)]
    return repositories, (config_map(number, f"latest {number}\n{texts[number % 50]}") for number in range(100))


WORLDS = {
    "objects": objects,
    "large": large,
    "distinct": distinct,
    "short": short,
    "unbroken": unbroken,
    "words": words,
}


def main() -> None:
    world, way = sys.argv[1:]
    repositories, made = WORLDS[world]()
    names = Names.of(RegistryHost(HOST), repositories)
    reader = ObjectReader(CONFIG_MAP, "bench", names)
    spent = 0.0
    for data in made:
        began = time.process_time()
        if way == "json":
            json.loads(data)
        else:
            reader.add(msgspec.Raw(data))
        spent += time.process_time() - began
    began = time.process_time()
    if way == "read":
        index = MentionIndex(reader.findings.mentions, reader.findings.digests)
        tags = dict.fromkeys(f"1.{number}" for number in range(30))
        for repository in repositories:
            index.of(ListedNames(repository, tags))
    spent += time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"cpu": spent, "peak": peak}))


if __name__ == "__main__":
    main()
