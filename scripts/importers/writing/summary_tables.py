"""Output of the commands of `scripts.prepare`: a table for users, a dictionary for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from scripts.importers.writing.import_summary import Summary
from scripts.importers.writing.integrity import Report
from transforms.plain_text import one_line


def summary_dict(summary: Summary) -> dict[str, Any]:
    """Return the summary for other programs."""
    return {
        "out": one_line(summary.out),
        "name": one_line(summary.name),
        "dry_run": summary.dry_run,
        "images": summary.images,
        "subjects": summary.subjects,
        **summary.sections,
        "labels": summary.labels,
        "pixel_percent": {name: round(value, 4) for name, value in summary.pixel_percent.items()},
        "notes": summary.notes,
        "overlaps": summary.overlaps,
        "transfer_syntaxes": {
            name: {"read": read, "left out": left_out} for name, (read, left_out) in summary.syntaxes.items()
        },
        "rejected": [{"file": one_line(path), "reason": reason} for path, reason in summary.rejected],
    }


def summary_table(summary: Summary) -> Table:
    """Return the summary for users."""
    counts = ", ".join(f"{section} {count}" for section, count in summary.sections.items() if count)
    rows = [
        ("dataset", f"{summary.name} in {one_line(summary.out)}{', not written' if summary.dry_run else ''}"),
        ("images", f"{summary.images} of {summary.subjects} subjects"),
        *([("split", counts)] if counts else []),
    ]
    if not summary.pixel_percent and summary.labels:
        rows.append(("classes", ", ".join(summary.labels)))
    rows += [(name, f"{value:.2f} % of training pixels") for name, value in summary.pixel_percent.items()]
    for name, (read, left_out) in summary.syntaxes.items():
        rows.append(("DICOM", f"{name}: {read} read" + (f", {left_out} left out" if left_out else "")))
    rows += [("note", note) for note in summary.notes]
    if summary.rejected:
        rows.append(("left out", f"{len(summary.rejected)} images that cannot be read"))
    result = Table(show_header=False, box=None)
    for head, cell in rows:
        result.add_row(_plain(head), _plain(cell))
    return result


def _plain(text: str) -> Text:
    """Return text that rich prints verbatim: a class may be called [/red]."""
    return Text(one_line(text))


def report_dict(report: Report) -> dict[str, Any]:
    """Return the integrity report for other programs."""
    return {
        "dataset": one_line(report.dataset.root),
        "digest": report.dataset.digest,
        "images": report.images,
        "subjects": report.subjects,
        "pixels": {
            section: dict(zip(report.dataset.class_names, counts.tolist(), strict=True))
            for section, counts in report.pixels.items()
        },
        "errors": report.errors,
        "warnings": report.warnings,
    }


def report_table(report: Report) -> Table:
    """Return the integrity report for users: images, subjects, sizes and the share of each class, by section."""
    sections = [section for section, count in report.images.items() if count]
    facts = [report.facts[section] for section in sections]
    result = Table("", *sections, box=None, title_justify="left")
    result.add_row("images", *(str(report.images[section]) for section in sections))
    result.add_row("subjects", *(str(report.subjects[section]) for section in sections))
    result.add_row("rows", *(_span([one.size[0] for one in members]) for members in facts))
    result.add_row("columns", *(_span([one.size[1] for one in members]) for members in facts))
    spacings = [[one.item["spacing_mm"][0] for one in members if one.item.get("spacing_mm")] for members in facts]
    if any(spacings):
        result.add_row("spacing (mm)", *(_span(values) for values in spacings))
    result.add_row("values", *(_span([v for one in members for v in (one.lowest, one.highest)]) for members in facts))
    for label, name in report.dataset.labels.items():
        shares = (report.pixels[section][label] / max(report.pixels[section].sum(), 1) for section in sections)
        result.add_row(_plain(name), *(f"{100 * share:.2f} %" for share in shares))
    return result


def _span(values: Sequence[float]) -> str:
    """Format the smallest and largest of some numbers."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
