"""`engines.evaluate`: refusals before anything is written, and rows for masks by a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_factory import Pixelwise, validation

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.tables import read_csv
from engines.runs.evaluate import evaluate
from transforms.dataset import Dataset
from transforms.errors import UserError

SETTINGS = {"stage": "slopes", "labels": {"0": "background", "1": "gland", "2": "tumor"}}


def evaluated(data: Path, out: Path, section: str = "validation", **more: Any) -> dict[str, dict[str, float]]:
    folder = Dataset.load(data)
    tracking = Tracking("e", "r", str(out / "none.db"), enabled=False)
    evaluator = validation(folder, Pixelwise(), "validation")
    return evaluate(
        evaluator, folder, section, {**SETTINGS, **more.pop("settings", {})}, Output(str(out)), tracking, **more
    )


def test_an_untrained_network_calls_everything_background(tiny_dataset: Path, tmp_path: Path) -> None:
    rows = evaluated(tiny_dataset, tmp_path / "out")
    assert list(rows) == ["all background", "slopes"]
    assert {name: rows["slopes"][name] for name in rows["all background"]} == pytest.approx(
        rows["all background"], nan_ok=True
    )
    assert rows["slopes"]["lesion_sensitivity_at_1fp"] == 0
    (folder,) = (tmp_path / "out" / "eval").iterdir()
    assert folder.name == "tiny-validation"
    assert len(read_csv(folder / "subjects.csv")) == 2


def test_a_threshold_has_a_row_of_its_own(tiny_dataset: Path, tmp_path: Path) -> None:
    """All three classes have a third: above a threshold of 0.3 every pixel is a lesion."""
    rows = evaluated(tiny_dataset, tmp_path / "out", lesions={"threshold": 0.3})
    assert list(rows) == ["all background", "slopes", "slopes, threshold 0.3"]
    assert rows["slopes, threshold 0.3"]["sensitivity/tumor"] == 1
    assert rows["slopes, threshold 0.3"]["sensitivity/gland"] == 0


def test_refusals(tiny_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="its classes are background, gland, tumor; the weights were trained with a, b"):
        evaluated(tiny_dataset, out, settings={"labels": {"0": "a", "1": "b"}})
    with pytest.raises(UserError, match=r"--section test: .* has no image in it; it has 4 in training, 2 in valid"):
        evaluated(tiny_dataset, out, section="test")
    with pytest.raises(UserError, match="--lesion_class cyst: unknown class"):
        evaluated(tiny_dataset, out, lesions={"lesion_class": "cyst"})
    with pytest.raises(UserError, match="--force maybe: expected true or false"):
        evaluated(tiny_dataset, out, force="maybe")
    assert not out.exists()


def test_a_data_set_that_was_split_otherwise_is_told(
    tiny_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluated(tiny_dataset, tmp_path / "out", settings={"dataset": "tiny", "split_digest": "another"})
    assert "tiny has a different split than at training time" in caplog.text
