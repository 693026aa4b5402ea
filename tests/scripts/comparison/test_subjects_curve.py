"""Width of intervals by number of subjects, LaTeX, vector figures."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.records.tables import read_csv
from engines.scoring.intervals import widening
from scripts.comparison.latex import escaped, latex
from scripts.comparison.models import Model
from scripts.comparison.report import ReportOptions, write
from scripts.comparison.store import NoStore, Result
from scripts.comparison.subjects_curve import HEADING, width_chart, widths, with_subjects_curve
from scripts.comparison.table import compare
from transforms.errors import UserError


def result(title: str, seed: int, subjects: int = 80, mean: float = 0.6) -> Result:
    """Subjects of 1000 pixels each, 100 of a gland, of which about a share is found."""
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(subjects):
        right = int(np.clip(100 * rng.normal(mean, 0.2), 0, 100))
        found[f"s{number:03d}"] = np.array([[900, 0], [100 - right, right]])
    return Result(
        title, "run", ("id",), "validation", ("background", "gland & fat"), "a_b 100 %", "d" * 64, found,
        folds=(found,), model=Model(title, title, (0, 0)),
    )  # fmt: skip


def test_widths_fall_with_the_root_of_the_subjects() -> None:
    found = widths(compare([result("U-Net", 0), result("FCN", 1)], 100, 0), "mean_iou", 0)
    assert list(dict.fromkeys(width.title for width in found)) == ["U-Net", "FCN", found[-1].title]
    assert " less " in found[-1].title
    mine = {width.subjects: width for width in found if width.title == "U-Net"}
    assert list(mine) == [8, 13, 20, 32, 50, 80, 160, 320]
    assert [mine[n].measured for n in mine] == [True] * 6 + [False] * 2
    assert mine[20].low < mine[20].width < mine[20].high
    # by the theory of a mean: half as many subjects, the root of two times the width, and a wider Student's t
    expected = math.sqrt(80 / 20) * widening(20) / widening(80)
    assert mine[20].width / mine[80].width == pytest.approx(expected, rel=0.12)
    assert mine[160].width == pytest.approx(mine[80].width / math.sqrt(2), rel=0.02)


def test_the_width_is_that_of_the_interval_of_the_tables() -> None:
    perfect = result("U-Net", 0, 8, 99)
    perfect.subjects["s000"][1] = [60, 40]
    row = compare([perfect], 2000, 0).rows[0]
    low, high = row.intervals["mean_dice"]
    assert high == 1
    first = widths(compare([perfect], 100, 0), "mean_dice", 0)[0]
    assert (first.subjects, first.width) == (8, pytest.approx(high - low, rel=0.05))


def test_few_subjects_and_unknown_scores() -> None:
    assert widths(compare([result("U-Net", 0, 7)], 100, 0), "mean_iou", 0) == []
    comparison = compare([result("U-Net", 0, 9)], 100, 0)
    with pytest.raises(UserError, match="--metric nothing: unknown"):
        with_subjects_curve([comparison], 0, "nothing")
    (made,), (found,) = with_subjects_curve([comparison], 0)
    assert made.extra[0].heading == f"{HEADING}: mean_iou"
    assert made.extra[0].lines[0][-2:] == (">18", ">36")
    assert width_chart(found, "t").axes[0].get_xlabel() == "subjects scored"


def test_latex_escapes_what_means_something_to_it() -> None:
    assert escaped(r"50 % of a_b & {c} #1 $2 \d~^<>") == (
        r"50 \% of a\_b \& \{c\} \#1 \$2 \textbackslash{}d\textasciitilde{}\textasciicircum{}"
        r"\textless{}\textgreater{}"
    )
    assert escaped("49.4 ± 1…") == r"49.4 $\pm$ 1\dots{}"
    text = latex([compare([result("[*]", 1), result("U-Net_2", 0)], 100, 0)])
    assert "\n{}[*] & " in text
    assert r"\caption{a\_b 100 \%: 80 validation subjects, per cent}" in text
    assert r"Model & background & gland \& fat & mean \\" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 5
    assert r"U-Net\_2 & " in text
    for line in text.splitlines():
        assert not line.endswith("\\\\") or line.count(" & ") >= 2  # every row has its cells


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_pdflatex_takes_the_tables(tmp_path: Path) -> None:
    """No table is wider than the text."""
    text = latex([compare([result("[*]", 1), result("A very long name of a model: U-Net_2 & more " * 3, 0)], 100, 0)])
    (tmp_path / "comparison.tex").write_text(text, encoding="utf-8")
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\\input{comparison}\\end{document}"
    (tmp_path / "paper.tex").write_text(head)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Overfull" not in made.stdout


def test_files_that_are_asked_for(tmp_path: Path) -> None:
    made, curves = with_subjects_curve([compare([result("U-Net", 0)], 100, 0)], 0)
    for number in range(2):
        options = ReportOptions(100, 0, latex=True, figures=("svg", "pdf"))
        write(NoStore(), made, tmp_path / str(number), options, curves=curves)
    names = {path.name for path in (tmp_path / "0").iterdir()}
    kinds = {f"{kind}-a_b_100.{end}" for kind in ("chart", "subjects") for end in ("png", "svg", "pdf")}
    assert kinds | {"comparison.tex", "subjects.csv"} <= names
    for name in names:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    assert (tmp_path / "0" / "chart-a_b_100.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "0" / "chart-a_b_100.svg").read_text(encoding="utf-8")
    assert len(read_csv(tmp_path / "0" / "subjects.csv")) == 8
    assert "Chart of the table above" in (tmp_path / "0" / "index.html").read_text(encoding="utf-8")
    write(NoStore(), [replace(each, extra=()) for each in made], tmp_path / "0", ReportOptions(100))
    assert not {path.suffix for path in (tmp_path / "0").iterdir()} & {".svg", ".pdf", ".tex"}
    with pytest.raises(UserError, match="--figures eps: unknown; choose from svg, pdf"):
        ReportOptions(figures=("eps",))
