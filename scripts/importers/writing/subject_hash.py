"""Keyed hashes of subjects (HMAC-SHA256, RFC 2104), to match women between data sets.

A plain or salted hash of a short number can be reversed by trying all numbers; a keyed hash cannot without the key,
which stays in its owner's file and in no data set.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from scripts.importers.writing.cases import Case
from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError
from transforms.plain_text import same_name

SHORTEST = 16
LENGTH = 32
"""Number of hexadecimal digits kept."""


def read_key(path: Path, out: Path) -> bytes:
    """Read the key from a file.

    Raises:
        UserError: no such file, a short key, or a file inside the dataset folder.
    """
    if out.resolve() in path.resolve().parents:
        raise UserError(f"--subject_key {path}: must not be in the dataset folder {out}; keep it elsewhere")
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"--subject_key {path}: cannot be read ({error.strerror}); create it as in docs/data.md"
        ) from None
    if len(key) < SHORTEST:
        raise UserError(
            f"--subject_key {path}: {len(key)} bytes; expected {SHORTEST} random ones or more, see docs/data.md"
        )
    return key


def subject_hash(case: Case, key: bytes) -> str:
    """Return the hash of a case's subject as named in its source, regardless of case and whitespace."""
    name = same_name(case.subject.partition(":")[2] if case.subject.startswith(("id:", "path:")) else case.subject)
    plain = "".join(name.casefold().split())
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()[:LENGTH]


def shared_subjects(first: Dataset, second: Dataset) -> dict[tuple[str, str], int]:
    """Count the subjects that two data sets share, by (section of the first, section of the second).

    Raises:
        UserError: one of them has no hashes.
    """
    hashes = []
    for data in (first, second):
        found = {
            name: {item["subject_hash"] for item in data.content.get(name, []) if "subject_hash" in item}
            for name in SECTIONS
        }
        if not any(found.values()):
            raise UserError(f"{data.root}: has no subject hashes; prepare both data sets with the same --subject_key")
        hashes.append(found)
    shared = {(a, b): len(hashes[0][a] & hashes[1][b]) for a in SECTIONS for b in SECTIONS}
    return {pair: count for pair, count in shared.items() if count}


def shared_with(first: Dataset, folder: Path) -> list[str]:
    """Describe the subjects shared with the data set in a folder, one line per pair of sections."""
    second = Dataset.load(folder)
    return [
        f"{count} subjects of {a} are in {b} of {second.name}"
        for (a, b), count in shared_subjects(first, second).items()
    ]
