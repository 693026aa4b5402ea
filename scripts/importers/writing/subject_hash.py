"""Keyed hashes of subjects (HMAC-SHA256, RFC 2104), by which women are found in several data sets.

A plain or salted hash of a short number can be reversed by trying all numbers; a keyed one cannot without the key,
which stays in a file of its owner's and in no data set.
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
"""Hexadecimal digits that are kept."""


def read_key(path: Path, out: Path) -> bytes:
    """The key in a file.

    Raises:
        UserError: no such file, a short key, or a file inside the dataset folder.
    """
    if out.resolve() in path.resolve().parents:
        raise UserError(f"--subject_key {path}: may not be in the dataset folder {out}; keep it elsewhere")
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"--subject_key {path}: cannot be read ({error.strerror}); make it as docs/data.md says"
        ) from None
    if len(key) < SHORTEST:
        raise UserError(
            f"--subject_key {path}: {len(key)} bytes; expected {SHORTEST} random ones or more, see docs/data.md"
        )
    return key


def subject_hash(case: Case, key: bytes) -> str:
    """Of a case's subject as its source names it; capitals and blanks do not matter."""
    name = same_name(case.subject.partition(":")[2] if case.subject.startswith(("id:", "path:")) else case.subject)
    plain = "".join(name.casefold().split())
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()[:LENGTH]


def shared_subjects(first: Dataset, second: Dataset) -> dict[tuple[str, str], int]:
    """How many subjects two data sets share, by (section of the first, section of the second).

    Raises:
        UserError: one has no hashes.
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
    """The same of the data set in a folder, in words."""
    second = Dataset.load(folder)
    return [
        f"{count} subjects of {a} are in {b} of {second.name}"
        for (a, b), count in shared_subjects(first, second).items()
    ]
