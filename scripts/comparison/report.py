"""Files of a comparison: tables, charts, pictures and page."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from engines.records.tables import write_csv, write_text
from engines.scoring.draws import DRAWS, SEED
from engines.scoring.figures import save_figure, save_vector
from scripts.comparison.chart import column_chart
from scripts.comparison.froc_chart import froc_chart
from scripts.comparison.image_strips import Case, cases, sheet
from scripts.comparison.latex import latex
from scripts.comparison.page import page
from scripts.comparison.statement_table import records as pair_records
from scripts.comparison.store import Result, Store
from scripts.comparison.subjects_curve import HEADING as CURVE
from scripts.comparison.subjects_curve import Width, width_chart, width_records
from scripts.comparison.table import LESION_HEADING, Comparison, markdown, records, table_markdown
from scripts.comparison.transfer import Transfer, transfer_heading, transfer_records, transfer_table
from scripts.comparison.worst_table import failure_records, failures
from transforms.errors import UserError
from transforms.plain_text import one_line

TRANSFER, LATEX, SUBJECTS = "transfer.csv", "comparison.tex", "subjects.csv"
VECTORS = ("svg", "pdf")
CHARTS = ("chart", "froc", "subjects")


def transfer_markdown(moved: Sequence[Transfer]) -> list[str]:
    """Return the table over all data sets; empty if there is none."""
    return [f"{transfer_heading(moved)}:\n\n{table_markdown(transfer_table(moved))}\n"] if moved else []


def by_dataset(results: Sequence[Result]) -> list[list[Result]]:
    """Group the results by data set, sorted by name."""
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


@dataclass(frozen=True)
class ReportOptions:
    """Options for writing a comparison.

    Attributes:
        draws, seed: number and random seed of the bootstrap samples.
        pictures: number of images to show side by side.
        latex: also write comparison.tex.
        figures: formats of vector figures to write in addition to PNG files: svg, pdf.

    Raises:
        UserError: a format is unknown.
    """

    draws: int = DRAWS
    seed: int = SEED
    pictures: int = 4
    latex: bool = False
    figures: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in self.figures:
            if name not in VECTORS:
                raise UserError(f"--figures {one_line(name)}: unknown; choose from {', '.join(VECTORS)}")


def write(
    store: Store,
    comparisons: Sequence[Comparison],
    out: Path,
    options: ReportOptions,
    moved: Sequence[Transfer] = (),
    curves: Sequence[Sequence[Width]] = (),
) -> None:
    """Write all files, and remove those of data sets that are no longer compared.

    Args:
        moved: see `scripts.comparison.transfer`.
        curves: interval widths per comparison, see `scripts.comparison.subjects_curve`; empty if not requested.
    """
    for kind, ends in (*((kind, ("png", *VECTORS)) for kind in CHARTS), ("pictures", ("png",))):
        for end in ends:
            for old in out.glob(f"{kind}-*.{end}"):
                old.unlink()
    for old in (*out.glob("images/*-*-*.png"), out / TRANSFER, out / LATEX, out / SUBJECTS):
        old.unlink(missing_ok=True)
    parts: list[tuple[Comparison, Path, Mapping[str, Path], list[Case]]] = []
    names = file_names(comparison.dataset for comparison in comparisons)
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, comparison) in enumerate(zip(names, comparisons, strict=True)):
            chart = _drawn(column_chart(comparison), out / f"chart-{name}", options)
            charts = {}
            if comparison.lesions:
                figure = froc_chart(comparison.lesions, comparison.heading, options.draws, options.seed)
                charts[LESION_HEADING] = _drawn(figure, out / f"froc-{name}", options)
            if curves and curves[number]:
                heading = next(extra.heading for extra in comparison.extra if extra.heading.startswith(CURVE))
                figure = width_chart(curves[number], heading)
                charts[heading] = _drawn(figure, out / f"subjects-{name}", options)
            shown = cases(store, comparison, Path(folder) / str(number), options.pictures)
            if shown:
                sheet(shown, comparison.classes).save(out / f"pictures-{name}.png", optimize=True)
            parts.append((comparison, chart, charts, shown))
    _write_tables(comparisons, out, moved, curves)
    if options.latex:
        write_text(out / LATEX, latex(comparisons))
    over_all = (transfer_heading(moved), transfer_table(moved)) if moved else None
    write_text(out / "index.html", page(parts, _about(options.draws, options.seed), out, over_all))


def _drawn(figure: Figure, path: Path, options: ReportOptions) -> Path:
    """Save a figure as PNG and in the requested formats; return the PNG file."""
    for end in options.figures:
        save_vector(figure, path.with_name(f"{path.name}.{end}"))
    return save_figure(figure, path.with_name(f"{path.name}.png"))


def _write_tables(
    comparisons: Sequence[Comparison], out: Path, moved: Sequence[Transfer], curves: Sequence[Sequence[Width]]
) -> None:
    write_csv(out / "comparison.csv", [row for comparison in comparisons for row in records(comparison)])
    wrong = [line for each in comparisons for line in failure_records(failures(each), each.dataset)]
    write_csv(out / "worst.csv", wrong)
    made = [(each.dataset, each.verdict) for each in comparisons if each.verdict]
    pairs = [{"dataset": dataset, **pair} for dataset, verdict in made for pair in pair_records(verdict)]
    write_csv(out / "differences.csv", pairs)
    if moved:
        write_csv(out / TRANSFER, transfer_records(moved))
    named = zip(comparisons, curves, strict=False)
    widths = [line for comparison, found in named for line in width_records(found, comparison.dataset)]
    if widths:
        write_csv(out / SUBJECTS, widths)
    text = "\n".join([*transfer_markdown(moved), *(markdown(comparison) for comparison in comparisons)])
    write_text(out / "comparison.md", f"# Comparison of segmentation networks\n\n{text}")


def _about(draws: int, seed: int) -> list[str]:
    return [
        "Scores are computed from the pooled confusion matrix of all subjects, at the resolution of the labels; void "
        "pixels are not counted.",
        f"Intervals: {draws} bootstrap samples of the subjects, seed {seed}; 2.5th to 97.5th percentile, "
        "widened, as draws with replacement vary less than new samples.",
        "A class in neither truth nor prediction is left out of the means; one that is only in the prediction has "
        "IoU 0 and counts.",
        "Research software, not for clinical use.",
    ]
