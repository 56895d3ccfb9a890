"""Deletes old images that no cluster uses from one Azure container registry."""

__version__ = "0.1.0"


def version() -> str:
    """Return the version, with the commit where it is known: `0.1.0 (commit 1a2b3c4d5e6f)`."""
    commit = _commit()[:12]
    return f"{__version__} (commit {commit})" if commit.isalnum() and commit.isascii() else __version__


def _commit() -> str:
    """Return the commit of the image or of this checkout; "" if it is not known."""
    from pathlib import Path  # noqa: PLC0415  not needed by most imports of this package

    package = Path(__file__).parent
    try:
        # The build of the image writes this file.
        return (package / "COMMIT").read_text("ascii").strip()
    except (OSError, ValueError):
        pass
    try:
        # Read by hand: starting git takes longer than everything else here.
        folder = package.parent / ".git"
        if folder.is_file():  # a further worktree
            folder = package.parent / folder.read_text("utf-8").removeprefix("gitdir:").strip()
        head = (folder / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref:"):
            return head
        branch = head.removeprefix("ref:").strip()
        common = folder / "commondir"
        shared = folder / common.read_text("utf-8").strip() if common.exists() else folder
        if (shared / branch).exists():
            return (shared / branch).read_text("utf-8").strip()
        packed = (shared / "packed-refs").read_text("utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {branch}")), "")
    except (OSError, ValueError):
        return ""
