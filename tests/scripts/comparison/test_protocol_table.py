"""`scripts.compare --protocols`: one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.records.tables import read_csv
from engines.scoring.lesion_files import LesionResult
from engines.scoring.matching import ImageLesions, Rule
from scripts.comparison.models import Model
from scripts.comparison.protocol_table import NOTES, with_protocols
from scripts.comparison.store import Result
from scripts.comparison.table import compare
from transforms.errors import UserError


def result(shared: int = 5) -> Result:
    """Three subjects with a lesion of 10 of 100 pixels, a mask of 10, of which some are right."""
    subjects = {f"s{n}": np.array([[80 + shared, 10 - shared], [10 - shared, shared]]) for n in range(3)}
    images = tuple(ImageLesions(f"s{n}", f"s{n}_L", 10, 10, shared) for n in range(3))
    return Result(
        "unet", "run", ("id",), "validation", ("background", "tumor"), "tiny", "d", subjects, folds=(subjects,),
        lesions=LesionResult(("tumor",), Rule(), images), model=Model("unet", "U-Net", (0, 0)),
    )  # fmt: skip


def test_one_line_for_each_protocol_means_over_seeds(tmp_path: Path) -> None:
    row = replace(result(5), seeds=(result(9),))
    (made,) = with_protocols([compare([row], 100, 0)], 100, 0, tmp_path)
    (extra,) = made.extra
    assert extra.lines[0] == ("Protocol", "U-Net")
    shown = dict(extra.lines[1:])
    assert shown["All pixels of all images together"] == "70.0 [70.0, 70.0]~"
    assert shown["Threshold chosen for each image"] == "n/a"
    # (90 + 98) / 2 of 100 pixels; background (2 * 85 / 180, 2 * 89 / 180)
    assert shown["Pixel accuracy, no Dice"].startswith("94.0 [")
    assert float(shown["Mean Dice of all classes, the background included"]) == pytest.approx(
        100 * (0.7 + (170 + 178) / 360) / 2, abs=0.05
    )
    assert extra.notes[:2] == NOTES
    rows = {line["protocol"]: line for line in read_csv(tmp_path / "protocols.csv")}
    assert float(rows["pooled"]["dice"]) == pytest.approx(0.7)
    assert rows["threshold_per_image"]["dice"] == ""


def test_without_lesions_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--protocols: tiny: no lesions were counted"):
        with_protocols([compare([replace(result(), lesions=None)], 100, 0)], 100, 0, tmp_path)
