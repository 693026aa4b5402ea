"""Writer of dataset folders, used by every importer.

It reads the cases, in several processes if worthwhile, numbers subjects, names files by number, splits by subject, and
writes to a hidden folder that becomes the output at the very end: there is always either a complete dataset or none.
Cases that an interrupted run had finished are not read again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.records.tables import write_csv
from scripts.importers.import_options import DEFAULTS, MERGE, ImportOptions
from scripts.importers.writing.case_keys import case_keys
from scripts.importers.writing.case_plan import probe
from scripts.importers.writing.cases import Case
from scripts.importers.writing.finished_cases import Files, Record, new_key
from scripts.importers.writing.given_split import GivenSplit, given_sections, read_split
from scripts.importers.writing.import_summary import Summary, counted_syntaxes
from scripts.importers.writing.notes import PLANNED, notes_of
from scripts.importers.writing.one_word import one_word_apart
from scripts.importers.writing.parallel import in_order, worker_count
from scripts.importers.writing.process_case import Rules, Task, failed_case, process_case
from scripts.importers.writing.progress import with_progress
from scripts.importers.writing.shards import (
    CASES,
    Part,
    Plan,
    finish_part,
    folders_of,
    left_over,
    merged_records,
    merging,
    part_at_work,
)
from scripts.importers.writing.split import sections_of
from scripts.importers.writing.staging import check_output, staged_folder
from scripts.importers.writing.subject_hash import read_key, subject_hash
from scripts.importers.writing.twins import without_twins
from scripts.importers.writing.written_case import Head, Written
from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError
from transforms.plain_text import one_line
from transforms.reading.limits import Limits
from transforms.row_counts import FOLDER as ROW_COUNTS

__all__ = ["Summary", "write_dataset"]

FOLDS = "folds.csv"
"""File of subjects and folds, written if `--split` specifies folds."""


def write_dataset(
    out: Path,
    cases: Iterable[Case],
    options: ImportOptions = DEFAULTS,
    *,
    labels: Sequence[str] = (),
    images_only: bool = False,
    ignore_label: int | None = None,
    colour: bool = False,
    source_values: Sequence[int] | None = None,
    recorded: Mapping[str, Any] | None = None,
) -> Summary:
    """Write a dataset folder and check it, so that the result is known to be readable.

    Args:
        out: the folder to create; must be absent or empty unless `options.overwrite`.
        cases: cases of at least two subjects. An invalid label is always an error.
        options: its `windowing` must be the one with which the cases read; only recorded here.
        labels: class names; the position is the class id.
        images_only: no image is labeled; every image goes to `test`, for segmentation but not for training.
        colour: the images are photographs; only recorded here.
        source_values: gray value of each class in the source's label images, for writing predictions.
        recorded: additional or overriding entries of dataset.json.

    Raises:
        UserError: no readable image, a label that does not fit, or an output that must not be replaced.
    """
    out, cases = Path(out), list(cases)
    check_output(out, options.overwrite, tuple(case.source for case in cases))
    key = None if options.subject_key is None else read_key(Path(options.subject_key), out)
    limits = Limits(options.max_megapixels, options.max_memory_gb)
    head = Head(
        name=one_line(options.name or out.absolute().name),
        licence=options.licence,
        reference=options.reference,
        windowing=options.windowing,
        rules=Rules(tuple(labels), ignore_label, options.flip, options.strict, limits),
        split={
            "by": options.split_by,
            "seed": options.seed,
            "validation_fraction": options.validation,
            **({"test_fraction": options.test} if options.test else {}),
        },
        given=None if options.split is None else read_split(Path(options.split)),
        images_only=images_only,
        colour=colour,
        source_values=source_values,
        recorded=dict(recorded or {}),
    )
    if options.dry_run:
        looked_at = with_progress(probe(cases, head.rules), len(cases), options.progress, "looking")
        written, rejected = _named(zip(cases, looked_at, strict=True))
        return _summary(out, head, written, rejected, _sections(written, rejected, head), list(PLANNED), dry_run=True)
    keys = case_keys(cases, (head.rules, head.windowing))
    plan = None if options.shard is None else Plan.of(options, keys, head.decided)
    if plan is not None and options.shard != MERGE:
        return _write_part(out, cases, keys, head, options, plan)
    with (
        merging(out, plan) as parts,
        staged_folder(out, options.overwrite, keep=None if parts else CASES) as stage,
    ):
        records = _merged(parts, cases, keys, options) if parts else _read(stage / CASES, cases, keys, head, options)
        pairs, twin_notes = without_twins(list(zip(cases, records, strict=True)), options.intent)
        written, rejected = _named(pairs)
        for one in written:
            one.hash = None if key is None else subject_hash(one.case, key)
        sections = _sections(written, rejected, head)
        _place(stage, written, {} if plan is None else folders_of(parts, keys))
        text = json.dumps(_content(head, sections), indent=1, ensure_ascii=False) + "\n"
        (stage / "dataset.json").write_text(text, encoding="utf-8", newline="\n")
        if head.given is not None and head.given.folds:
            _write_folds(stage / FOLDS, written, head.given)
        Dataset.load(stage)
    facts = {section: [one.facts for one in members] for section, members in sections.items()}
    notes = twin_notes + notes_of([one.record for one in written], facts, labels, options.split_by, options.flip)
    words = [one_word_apart(one.case.subject for one in written), left_over(out) if parts else None]
    return _summary(out, head, written, rejected, sections, [*notes, *(text for text in words if text is not None)])


def _read(
    folder: Path,
    cases: Sequence[Case],
    keys: Sequence[str | None],
    head: Head,
    options: ImportOptions,
    verify: bool = True,
) -> list[Record]:
    """Process the cases in a folder, or reuse finished ones; remove files of other commands.

    Args:
        verify: see `find_case`.
    """
    folder.mkdir(exist_ok=True)
    names = [key or new_key() for key in keys]
    wanted = {path for key in names for path in vars(Files.of(folder, key)).values()}
    for path in set(folder.iterdir()) - wanted:
        path.unlink()
    tasks = [Task(folder, key, case, head.rules, verify) for key, case in zip(names, cases, strict=True)]
    processes = worker_count(options.workers, [case.source for case in cases])
    return list(with_progress(in_order(process_case, tasks, processes, failed_case), len(cases), options.progress))


def _merged(
    parts: Sequence[Part], cases: Sequence[Case], keys: Sequence[str | None], options: ImportOptions
) -> list[Record]:
    """Return the records of the cases in the parts of a shared import."""
    return list(with_progress(merged_records(parts, cases, keys), len(cases), options.progress, "merging"))


def _write_part(
    out: Path,
    cases: Sequence[Case],
    keys: Sequence[str | None],
    head: Head,
    options: ImportOptions,
    plan: Plan,
) -> Summary:
    """Process the cases of one part of a shared import."""
    with part_at_work(out, options, plan, keys) as (part, done):
        own = slice(part.number - 1, None, part.count)
        records = _read(part.cases, cases[own], keys[own], head, options, verify=not done)
        finish_part(part, cases[own], records)
    pairs = list(zip(cases[own], records, strict=True))
    written, rejected = _named(pairs) if any(record.rejected is None for record in records) else ([], pairs)
    reused = sum(record.reused for record in records)
    notes = [f"{reused} images had been finished by an earlier run"] if reused else []
    notes.append(f"when all {part.count} parts are done: the same command with --shard {MERGE}")
    summary = _summary(part.folder, head, written, rejected, {}, notes, dry_run=True)
    return replace(summary, name=f"part {part.number} of {part.count} of {head.name}", dry_run=False, private=[])


def _named(pairs: Iterable[tuple[Case, Record]]) -> tuple[list[Written], list[tuple[Case, Record]]]:
    """Return the readable cases, numbered in their order, and the others."""
    pairs = list(pairs)
    numbers: dict[str, str] = {}
    taken: Counter[str] = Counter()
    written: list[Written] = []
    rejected: list[tuple[Case, Record]] = []
    width = max(3, len(str(len({case.subject for case, _ in pairs}))))
    for case, record in pairs:
        if record.rejected is not None:
            rejected.append((case, record))
            continue
        if case.tally is not None:
            case.tally.notes.update(record.notes)
            case.tally.overlaps.update(record.overlaps)
        subject = numbers.setdefault(case.subject, f"s{len(numbers) + 1:0{width}d}")
        written.append(Written(subject, _file_name(subject, record.item, taken), case, record))
    if not written:
        reason = f"; the first: {rejected[0][1].rejected}" if rejected else ""
        raise UserError(f"none of {len(pairs)} images could be read{reason}")
    return written, rejected


def _file_name(subject: str, item: dict[str, Any], taken: Counter[str]) -> str:
    name = "_".join(part for part in (subject, item["laterality"], item["view"]) if part)
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _share_file(source: Path, target: Path) -> None:
    """Add a part's file to the dataset by a link or a copy, so that an interrupted merge loses nothing."""
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _place(stage: Path, written: list[Written], shared: Mapping[str, Path]) -> None:
    """Put the files of finished cases in the dataset, under their names; `shared` maps keys to folders of parts."""
    put = _share_file if shared else Path.rename
    for name in ("images", "labels", ROW_COUNTS):
        (stage / name).mkdir()
    for one in written:
        files = Files.of(shared.get(one.record.key, stage / CASES), one.record.key)
        put(files.image, stage / "images" / f"{one.name}.npy")
        if one.record.counts is not None:
            put(files.label, stage / "labels" / f"{one.name}.npy")
            put(files.rows, stage / ROW_COUNTS / f"{one.name}.npy")


def _sections(written: list[Written], rejected: Sequence[tuple[Case, Record]], head: Head) -> dict[str, list[Written]]:
    """Return readable cases by section.

    Raises:
        UserError: too few for a split; also states why the first of the unreadable ones was left out.
    """
    try:
        return _split(written, head)
    except UserError as error:
        if not rejected:
            raise
        raise UserError(
            f"{error} ({len(rejected)} images were left out; the first: {rejected[0][1].rejected})"
        ) from None


def _split(written: list[Written], head: Head) -> dict[str, list[Written]]:
    """Return cases by section: as prescribed by their source, else test if unlabeled, the rest drawn."""
    labelled = [one.case.read_label is not None for one in written]
    if not head.images_only and not any(labelled) and not any(one.case.section for one in written):
        raise UserError(f"none of the {len(written)} images has a label; nothing can be trained")
    groups = [one.subject if head.split["by"] == "subject" else one.item["image"] for one in written]
    if head.given is not None:
        chosen = given_sections(head.given, [one.case for one in written], labelled, head.split["by"] == "image")
        head.split.update(_as_given(chosen, head.split["by"]))
        return _by_section(written, chosen)
    prescribed = [one.case.section or (None if known else "test") for one, known in zip(written, labelled, strict=True)]
    shares = head.split["validation_fraction"], head.split["seed"], head.split.get("test_fraction", 0.0)
    return _by_section(written, sections_of(groups, prescribed, *shares))


def _as_given(sections: Sequence[str], by: str) -> dict[str, Any]:
    """Return the entries of dataset.json for a split that a file prescribes."""
    shares = {name: sections.count(name) / len(sections) for name in ("validation", "test")}
    return {
        "by": by if by == "image" else "file",
        "validation_fraction": shares["validation"],
        "test_fraction": shares["test"],
    }


def _write_folds(path: Path, written: Sequence[Written], given: GivenSplit) -> None:
    """Write the folds with the subjects' new names, as read by `scripts.crossval --folds_file`."""
    folds = {one.subject: given.value(one.case) for one in written}
    write_csv(path, [{"subject": subject, "fold": fold} for subject, fold in sorted(folds.items())])


def _by_section(written: Sequence[Written], chosen: Sequence[str]) -> dict[str, list[Written]]:
    return {
        section: [one for one, place in zip(written, chosen, strict=True) if place == section] for section in SECTIONS
    }


def _pixel_fraction(training: list[Written], labels: Sequence[str]) -> dict[str, float]:
    counts = np.zeros(len(labels), np.int64)
    for one in training:
        counts += np.asarray(one.record.counts or [0] * len(labels), np.int64)
    total = max(int(counts.sum()), 1)
    return {name: float(count) / total for name, count in zip(labels, counts.tolist(), strict=True)}


def _content(head: Head, sections: dict[str, list[Written]]) -> dict[str, Any]:
    """Return the content of dataset.json."""
    return {
        "format_version": 1,
        "name": head.name,
        "licence": head.licence,
        "reference": head.reference,
        "windowing": head.windowing,
        "flip": head.rules.flip,
        **({"colour": True} if head.colour else {}),
        **({"source_values": list(head.source_values)} if head.source_values is not None else {}),
        "labels": {str(label): text for label, text in enumerate(head.rules.labels)},
        "ignore_label": head.rules.ignore_label,
        "pixel_fraction": _pixel_fraction(sections["training"], head.rules.labels),
        "split": head.split,
        **head.recorded,
        **{section: [one.item for one in members] for section, members in sections.items()},
    }


def _summary(
    out: Path,
    head: Head,
    written: list[Written],
    rejected: list[tuple[Case, Record]],
    sections: dict[str, list[Written]],
    notes: list[str],
    dry_run: bool = False,
) -> Summary:
    fraction = {} if dry_run else _pixel_fraction(sections["training"], head.rules.labels)
    records = [(one.record, True) for one in written] + [(record, False) for _, record in rejected]
    return Summary(
        out=out,
        name=head.name,
        images=len(written),
        subjects=len({one.subject for one in written}),
        sections={section: len(members) for section, members in sections.items()},
        labels=list(head.rules.labels),
        pixel_percent={label: 100.0 * share for label, share in fraction.items()},
        notes=notes,
        syntaxes=counted_syntaxes((record.syntax, read) for record, read in records),
        rejected=[(case.source, str(record.rejected)) for case, record in rejected],
        private=[(one.subject, one.name, one.case.source) for one in written],
        dry_run=dry_run,
    )
