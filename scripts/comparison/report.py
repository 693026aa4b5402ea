"""The files of a comparison: tables, charts, pictures and the page."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.records.tables import write_csv, write_text
from engines.scoring.figures import save_figure
from scripts.comparison.chart import column_chart
from scripts.comparison.froc_chart import froc_chart
from scripts.comparison.image_strips import Case, cases, sheet
from scripts.comparison.page import page
from scripts.comparison.statement_table import records as pair_records
from scripts.comparison.store import Result, Store
from scripts.comparison.table import Comparison, markdown, records, table_markdown
from scripts.comparison.transfer import Transfer, transfer_heading, transfer_records, transfer_table
from scripts.comparison.worst_table import failure_records, failures

TRANSFER = "transfer.csv"


def transfer_markdown(moved: Sequence[Transfer]) -> list[str]:
    """The table over all data sets; empty without one."""
    return [f"{transfer_heading(moved)}:\n\n{table_markdown(transfer_table(moved))}\n"] if moved else []


def by_dataset(results: Sequence[Result]) -> list[list[Result]]:
    """The results of each data set, by name."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.dataset, []).append(result)
    return [groups[name] for name in sorted(groups)]


def file_names(datasets: Iterable[str]) -> list[str]:
    """Unique, filesystem-safe file name per data set."""
    found: list[str] = []
    for dataset in datasets:
        name = plain = re.sub(r"[^\w.-]+", "_", dataset).strip("_") or "dataset"
        number = 1
        while name.casefold() in {other.casefold() for other in found}:
            number += 1
            name = f"{plain}_{number}"
        found.append(name)
    return found


def write(
    store: Store,
    comparisons: Sequence[Comparison],
    out: Path,
    draws: int,
    seed: int,
    pictures: int,
    moved: Sequence[Transfer] = (),
) -> None:
    """Write all files; those of data sets that are no longer compared are removed."""
    for old in [
        *out.glob("chart-*.png"),
        *out.glob("froc-*.png"),
        *out.glob("pictures-*.png"),
        *out.glob("images/*-*-*.png"),
    ]:
        old.unlink()
    parts: list[tuple[Comparison, Path, Path | None, list[Case]]] = []
    names = file_names(comparison.dataset for comparison in comparisons)
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, comparison) in enumerate(zip(names, comparisons, strict=True)):
            chart = save_figure(column_chart(comparison), out / f"chart-{name}.png")
            curves = None
            if comparison.lesions:
                figure = froc_chart(comparison.lesions, comparison.heading, draws, seed)
                curves = save_figure(figure, out / f"froc-{name}.png")
            shown = cases(store, comparison, Path(folder) / str(number), pictures)
            if shown:
                sheet(shown, comparison.classes).save(out / f"pictures-{name}.png", optimize=True)
            parts.append((comparison, chart, curves, shown))
    write_csv(out / "comparison.csv", [row for comparison in comparisons for row in records(comparison)])
    wrong = [line for each in comparisons for line in failure_records(failures(each), each.dataset)]
    write_csv(out / "worst.csv", wrong)
    made = [(each.dataset, each.verdict) for each in comparisons if each.verdict]
    pairs = [{"dataset": dataset, **pair} for dataset, verdict in made for pair in pair_records(verdict)]
    write_csv(out / "differences.csv", pairs)
    (out / TRANSFER).unlink(missing_ok=True)
    if moved:
        write_csv(out / TRANSFER, transfer_records(moved))
    text = "\n".join([*transfer_markdown(moved), *(markdown(comparison) for comparison in comparisons)])
    write_text(out / "comparison.md", f"# Comparison of segmentation networks\n\n{text}")
    over_all = (transfer_heading(moved), transfer_table(moved)) if moved else None
    write_text(out / "index.html", page(parts, _about(draws, seed), out, over_all))


def _about(draws: int, seed: int) -> list[str]:
    return [
        "Scores are of the pooled confusion matrix of all subjects, at the labels' own resolution; void pixels are not "
        "counted.",
        f"Intervals: {draws} bootstrap samples of the subjects, seed {seed}; 2.5th to 97.5th percentile, "
        "widened by what draws with replacement lack.",
        "A class in neither truth nor prediction is left out of the means; one that is predicted but not there has "
        "IoU 0 and counts.",
        "Research software, not for clinical use.",
    ]
