"""The Git checkout that contains the code."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkout:
    """State of a checkout: full commit, branch (empty if none is checked out), whether tracked files were changed."""

    commit: str
    branch: str
    changed: bool


def checkout(folder: Path) -> Checkout | None:
    """Return the state of the checkout whose root is `folder`, or None without a checkout or Git."""
    if not (folder / ".git").exists():  # a shared bundle; git would find an unrelated commit further up
        return None
    try:
        commit, branch = _git(folder, "rev-parse", "HEAD"), _git(folder, "branch", "--show-current")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no") != ""
    except (OSError, subprocess.SubprocessError):
        return None
    return Checkout(commit, branch, changed)


def git_commit(folder: Path) -> str:
    """Return the first twelve digits of the checkout's commit, or `unknown` without a checkout."""
    found = checkout(folder)
    return "unknown" if found is None else found.commit[:12]


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
