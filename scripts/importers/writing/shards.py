"""Import shared by several machines: each processes one part of the same plan, and a merge finishes it.

Parts are beside the output, `OUT.shards/2-of-3`, with the files of their finished cases and `shard.json`: the plan, and
whether the part is done. They name no source.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from engines.base.lock import claim_if_locks, release
from scripts.importers.import_options import MERGE, ImportOptions, part_of
from scripts.importers.writing.case_keys import code_version
from scripts.importers.writing.cases import Case, shards_folder
from scripts.importers.writing.finished_cases import Record, find_case
from transforms.atomic_write import atomic_file
from transforms.digests import file_sha256
from transforms.errors import UserError
from transforms.plain_text import one_line

FILE = "shard.json"
CASES = "cases"
_LOCK = "in_use"
_FORMAT = 1
_SOURCE = "\0"
"""Placeholder for the path of the source in a reason."""
_FREE = ("overwrite", "workers", "dry_run", "progress", "shard", "split", "subject_key")
"""Options that may differ between parts, or are compared by the content of their files."""


@dataclass(frozen=True)
class Plan:
    """Properties that all parts of an import must have in common.

    Attributes:
        options: shared options by name.
        code: digest of the code and of library versions.
        settings: digest of the format's settings, such as classes.
        images: number of images.
        sources: digest of all cases, in order: files, their size and time, options of the format.
    """

    options: dict[str, str]
    code: str
    settings: str
    images: int
    sources: str

    @classmethod
    def of(cls, options: ImportOptions, keys: Sequence[str | None], settings: Any) -> Plan:
        """Return the plan of an import.

        Args:
            keys: keys of all cases, see `case_keys`.
            settings: the format's settings, serializable as JSON.

        Raises:
            UserError: another process could not recognize a case.
        """
        if None in keys:
            raise UserError("--shard: another process cannot recognize the images of this format; remove --shard")
        stated = {f.name: str(getattr(options, f.name)) for f in fields(options) if f.name not in _FREE}
        table = None if options.split is None else Path(options.split)
        stated["split"] = str(options.split)
        if table is not None and table.is_file():
            stated["split"] = f"a file of SHA-256 {file_sha256(table)[:16]}…"
        stated["subject_key"] = "given" if options.subject_key else "not given"
        text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
        return cls(stated, code_version(), _digest(text), len(keys), _digest("\n".join(map(str, keys))))

    def difference(self, part: Mapping[str, Any]) -> str | None:
        """Describe how the plan of a part differs from this one; None if it does not."""
        theirs = part.get("options")
        theirs = theirs if isinstance(theirs, dict) else {}
        names = [name for name in self.options if theirs.get(name) != self.options[name]]
        if names:
            such = ", ".join(f"--{name} {one_line(theirs.get(name))} (here {self.options[name]})" for name in names)
            return f"was made with {such}"
        for key, words in (
            ("code", "was made by another version of the code or of its libraries"),
            ("settings", "was made with other classes or options of the format"),
            ("images", f"is of an import of {one_line(part.get('images'))} images, but this one has {self.images}"),
            ("sources", "is of other files, of files that changed since, or with other options of the format"),
        ):
            if part.get(key) != getattr(self, key):
                return words
        return None


@dataclass
class Part:
    """A part, as described by its shard.json.

    Attributes:
        number, count: the part is the `number`-th of `count`, from 1.
        rejected: key of each unreadable case to the reason; None while the part is not done.
    """

    folder: Path
    number: int
    count: int
    plan: dict[str, Any]
    rejected: dict[str, dict[str, Any]] | None = None

    @classmethod
    def read(cls, folder: Path) -> Part | None:
        """Read the part in a folder; None if it is not a part."""
        try:
            said = json.loads((folder / FILE).read_text(encoding="utf-8"))
            number, count, plan, rejected = (said[key] for key in ("part", "parts", "plan", "rejected"))
            whole = said["format"] == _FORMAT and 1 <= int(number) <= int(count) and isinstance(plan, dict)
            if rejected is not None:
                rejected = {
                    key: {"reason": str(why["reason"]), "syntax": why["syntax"]} for key, why in rejected.items()
                }
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return cls(folder, int(number), int(count), plan, rejected) if whole else None

    def write(self) -> None:
        """Write shard.json."""
        said = {"format": _FORMAT, "part": self.number, "parts": self.count, "plan": self.plan}
        with atomic_file(self.folder / FILE) as path:
            path.write_text(json.dumps({**said, "rejected": self.rejected}, indent=1), encoding="utf-8")

    @property
    def cases(self) -> Path:
        """Folder of its finished cases."""
        return self.folder / CASES

    def record(self, case: Case, key: str) -> Record:
        """Return the record of one of its cases.

        Raises:
            UserError: the case's files are missing or truncated.
        """
        why = (self.rejected or {}).get(key)
        if why is not None:
            reason = why["reason"].replace(_SOURCE, str(case.source))
            return Record(key, rejected=reason, syntax=why["syntax"])
        found = find_case(self.cases, key, verify=False)
        if found is None:
            raise UserError(
                f"{self.folder}: files of an image are missing or damaged; run the command again with "
                f"--shard {self.number}/{self.count}, then with --shard {MERGE}"
            )
        found.reused = False
        return found


@contextmanager
def part_at_work(
    out: Path, options: ImportOptions, plan: Plan, keys: Sequence[str | None]
) -> Iterator[tuple[Part, bool]]:
    """Yield the part that `--shard` specifies, and whether it is already done; it is locked until the block ends.

    Args:
        keys: keys of all cases.

    Raises:
        UserError: there are parts of another division, or images of another import; another process works in the part,
            or it cannot be written.
    """
    number, count = part_of(options.shard)
    root = shards_folder(out)
    others = [part for part in map(Part.read, _folders(root)) if part is not None and part.count != count]
    if others:
        raise UserError(
            f"{others[0].folder}: is part {others[0].number} of {others[0].count}, but --shard is {number}/{count}; "
            f"use one number of parts, or remove the parts of the other division ({len(others)})"
        )
    part = Part(root / f"{number}-of-{count}", number, count, asdict(plan))
    try:
        part.cases.mkdir(parents=True, exist_ok=True)
        lock, _ = claim_if_locks(part.folder / _LOCK)
    except OSError as error:
        raise UserError(f"{part.folder}: cannot be written ({error.strerror}); choose another output folder") from None
    if lock is None:
        raise UserError(f"{part.folder}: another process is working in it; wait for it, or specify another part")
    try:
        before = Part.read(part.folder)
        done = before is not None and before.rejected is not None and before.plan.get("sources") == plan.sources
        _check_same_import(part, keys)
        if not done:
            part.write()
        yield part, done
    finally:
        release(part.folder / _LOCK, lock)


def _check_same_import(part: Part, keys: Sequence[str | None]) -> None:
    """Raise UserError if all finished images of a part would be removed."""
    there = {path.name for path in part.cases.glob("[!.]*.json")}
    if there and there.isdisjoint(f"{key}.json" for key in keys[part.number - 1 :: part.count]):
        raise UserError(
            f"{part.folder}: holds {len(there)} images of another import, or made with other options or another "
            "version of the code; remove it, or choose another output folder"
        )


def finish_part(part: Part, cases: Sequence[Case], records: Sequence[Record]) -> None:
    """Mark a part as done."""
    part.rejected = {
        record.key: {"reason": _without_source(record.rejected, case.source), "syntax": record.syntax}
        for case, record in zip(cases, records, strict=True)
        if record.rejected is not None
    }
    part.write()


def _without_source(reason: str, source: Path) -> str:
    """Return the reason without any name of the source's files."""
    for form in (str(source), one_line(source)):
        reason = reason.replace(form, _SOURCE)
    named = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", reason) for name in (source.name, source.stem))
    return f"{_SOURCE}: cannot be read; its part reported the reason" if named else reason


def finished_parts(out: Path, plan: Plan) -> list[Part]:
    """Return all parts of an import, in order, after checking that they are done and of the same plan.

    Raises:
        UserError: a part is missing, unfinished or of another plan; states which, and what to do.
    """
    root = shards_folder(out)
    parts: dict[int, Part] = {}
    for folder in _folders(root):
        part = Part.read(folder)
        if part is None:
            raise UserError(
                f"{folder}: not a part of an import ({FILE} is missing or damaged); run its part again, or move it away"
            )
        other = parts.get(part.number)
        if other is not None and other.count == part.count:
            raise UserError(f"{folder}: is part {part.number} of {part.count}, and so is {other.folder}; keep one")
        if any(one.count != part.count for one in parts.values()):
            counts = sorted({part.count, *(one.count for one in parts.values())})
            raise UserError(
                f"{root}: holds parts of {counts[0]} and of {counts[1]}; remove those of the other division, such as "
                f"{folder.name}"
            )
        parts[part.number] = part
    if not parts:
        raise UserError(
            f"{root}: no parts of an import; first run the command with, for example, --shard 1/3, 2/3, 3/3"
        )
    count = next(iter(parts.values())).count
    missing = [str(number) for number in range(1, count + 1) if number not in parts]
    if missing:
        raise UserError(
            f"{root}: {'part' if len(missing) == 1 else 'parts'} {', '.join(missing[:5])} of {count} "
            f"{'is' if len(missing) == 1 else 'are'} missing; run the command with --shard {missing[0]}/{count}, or "
            "copy the part from another machine"
        )
    return [_usable(parts[number], plan) for number in range(1, count + 1)]


def _usable(part: Part, plan: Plan) -> Part:
    again = f"run the command with --shard {part.number}/{part.count}"
    if part.rejected is None:
        raise UserError(f"{part.folder}: is not finished; {again} (it resumes)")
    difference = plan.difference(part.plan)
    if difference is not None:
        raise UserError(
            f"{part.folder}: {difference}; use the same for all parts and --shard {MERGE}, or {again} as here "
            "(unchanged images are reused)"
        )
    return part


def merged_records(parts: Sequence[Part], cases: Sequence[Case], keys: Sequence[str | None]) -> Iterator[Record]:
    """Yield the record of each case, in order."""
    for number, (case, key) in enumerate(zip(cases, keys, strict=True)):
        yield parts[number % len(parts)].record(case, str(key))


def folders_of(parts: Sequence[Part], keys: Sequence[str | None]) -> dict[str, Path]:
    """Return the folder of each case's files."""
    return {str(key): parts[number % len(parts)].cases for number, key in enumerate(keys)}


@contextmanager
def merging(out: Path, plan: Plan | None) -> Iterator[list[Part]]:
    """Yield all parts, see `finished_parts`; none without a plan. Lock them in the block; remove them if it succeeds.

    Raises:
        UserError: a process works in one of them, or as in `finished_parts`.
    """
    held: dict[Path, IO[str]] = {}
    try:
        for folder in [] if plan is None else _folders(shards_folder(out)):
            path = folder.resolve() / _LOCK  # a link to the folder is removed before it is released
            with suppress(OSError):  # no process works in a folder that is not writable
                lock, _ = claim_if_locks(path)
                if lock is None:
                    raise UserError(f"{folder}: another process is working in it; wait for it, then merge")
                held[path] = lock
        parts = [] if plan is None else finished_parts(out, plan)
        yield parts
        for part in parts:
            with suppress(OSError):
                _empty(part.folder)
    finally:
        for path, lock in held.items():
            release(path, lock)
    for folder in (*(part.folder for part in parts), shards_folder(out)) if parts else ():
        with suppress(OSError):
            folder.rmdir()


def _empty(folder: Path) -> None:
    """Remove a link to a folder, or all of a folder except its lock, so that no other process starts in it."""
    if folder.is_symlink():
        return folder.unlink()
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _LOCK:
            path.unlink()


def left_over(out: Path) -> str | None:
    """Describe parts that a merge could not remove; None if there are none."""
    root = shards_folder(out)
    return f"{one_line(root)} is no longer needed, and could not be removed completely" if root.exists() else None


def _folders(root: Path) -> list[Path]:
    """Return the folders of parts, sorted by number."""
    if not root.is_dir():
        return []
    found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: [int(word) for word in re.findall(r"\d+", path.name)[:2]])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
