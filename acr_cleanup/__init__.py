"""Deletes old images that no cluster uses from one Azure container registry."""

__version__ = "0.1.0"


def version() -> str:
    """Return the version, with the commit where it is known: `0.1.0 (commit 1a2b3c4d5e6f)`."""
    commit = _commit()[:12]
    return f"{__version__} (commit {commit})" if commit.isalnum() and commit.isascii() else __version__


def _commit() -> str:
    """Return the commit of the image or of this checkout; "" if it is not known."""
    # Not with pathlib: to import it takes longer than all else that `--version` does.
    import os  # noqa: PLC0415  not needed by most imports of this package

    def read(*parts: str) -> str:
        with open(os.path.join(*parts), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            return file.read().strip()

    package = os.path.dirname(__file__)  # noqa: PTH120
    checkout = os.path.dirname(package)  # noqa: PTH120
    try:
        # The build of the image writes this file.
        return read(package, "COMMIT")
    except (OSError, ValueError):
        pass
    try:
        # Read by hand: starting git takes longer than everything else here.
        folder = os.path.join(checkout, ".git")  # noqa: PTH118
        if os.path.isfile(folder):  # noqa: PTH113  a further worktree
            folder = os.path.join(checkout, read(folder).removeprefix("gitdir:").strip())  # noqa: PTH118
        head = read(folder, "HEAD")
        if not head.startswith("ref:"):
            return head
        branch = head.removeprefix("ref:").strip()
        shared = folder
        if os.path.exists(os.path.join(folder, "commondir")):  # noqa: PTH110, PTH118
            shared = os.path.join(folder, read(folder, "commondir"))  # noqa: PTH118
        if os.path.exists(os.path.join(shared, branch)):  # noqa: PTH110, PTH118
            return read(shared, branch)
        packed = read(shared, "packed-refs").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {branch}")), "")
    except (OSError, ValueError):
        return ""
