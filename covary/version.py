"""The version of covary, and the commit it runs from where that is known."""

import functools
import subprocess
from pathlib import Path

__version__ = "0.1.0"


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout that covary is imported from, ``+`` appended if it has changes.

    None for an installed package, or where git is absent.
    """
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=root, capture_output=True, text=True
        )
    except OSError:
        return None
    return head.stdout.strip() + ("+" if changes.stdout else "") if head.returncode == 0 else None
