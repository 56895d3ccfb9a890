"""
The command line of the stand-in for kubectl.

Standard library alone, so that it starts quickly.
"""

from __future__ import annotations

_SHORT = {
    "-A": "all-namespaces",
    "-o": "output",
    "-n": "namespace",
    "-l": "selector",
    "-L": "label-columns",
    "-q": "quiet",
    "-f": "filename",
}
_SWITCHES = {"all-namespaces", "ignore-not-found", "no-headers", "quiet", "client", "namespaced", "show-managed-fields"}


class KubectlError(Exception):
    """An error whose text is printed on stderr without change; the exit code is 1."""


class Arguments:
    """
    The words and the flags of a command line.

    A flag may be written `-o json`, `-o=json`, `-ojson`, `--output json` or `--output=json`.
    """

    def __init__(self, argv: list[str]) -> None:
        self.words: list[str] = []
        self.flags: dict[str, str] = {}
        rest = list(argv)
        while rest:
            item = rest.pop(0)
            if not item.startswith("-") or item == "-":
                self.words.append(item)
                continue
            if item.startswith("--"):
                name, given, value = item[2:].partition("=")
            else:
                name, value = _SHORT.get(item[:2], item[1:]), item[2:].removeprefix("=")
                given = value
            if name in _SWITCHES:
                self.flags[name] = value if given else "true"
            elif given:
                self.flags[name] = value
            elif rest:
                self.flags[name] = rest.pop(0)
            else:
                raise KubectlError(f"error: flag needs an argument: {item}")

    def on(self, name: str) -> bool:
        """Return whether a switch is set."""
        return self.flags.get(name) == "true"
