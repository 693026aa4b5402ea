"""Everything a run leaves on disk: readable without MLflow, and never half written."""

from __future__ import annotations

import csv
import json
import logging
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from engines.base.distributed import is_main
from engines.base.paths import as_path
from engines.records.checkpoint import load_checkpoint, save_checkpoint
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")


class Output:
    """The folders `models/` and `eval/` of one run; of several processes only the first writes to them.

        models/<stage>.pt    best weights of a stage (a state_dict)
        models/model.pt      best weights of the last stage trained
        models/model.json    what evaluation and inference need to rebuild the network, and its scores
        models/progress.pt   what an interrupted training goes on from
        models/progress-before.pt   that of the training before, until a stage of the new one ends
        eval/epochs.csv      one row per epoch; eval/scores.csv, eval/subjects.csv, eval/panels/*.png
        eval/config.json     the options it was run with
        eval/split.json      the subjects of each section
        eval/confusion-<stage>.json   the confusion matrix of every subject; .png: their sum, and classes-<stage>.png
        eval/predictions/    small label maps of a few subjects: <stage>/, truth/ and the images, image/

    Args:
        folder: made when first written to.
        section: folder below eval/ for the tables and pictures of an evaluation, `<dataset>-<section>`.
    """

    def __init__(self, folder: str | Path, section: str = "") -> None:
        self.folder = as_path(folder)
        self.models = self.folder / "models"
        self.eval = self.folder / "eval" / section
        self.panels = self.eval / "panels"
        self.predictions = self.eval / "predictions"
        self.progress_file = self.models / "progress.pt"
        self.progress_before = self.models / "progress-before.pt"
        self.epochs_file = self.eval / "epochs.csv"

    def start_anew(self) -> None:
        """Drop the record of an earlier training; its weights stay until a stage of the new one ends."""
        if not is_main():
            return
        if self.progress_file.is_file():
            self.progress_file.replace(self.progress_before)
            logger.info(
                "An earlier training in %s is replaced. To continue that one instead: stop this one, rename %s to %s, "
                "and give --resume true.",
                *(self.models, self.progress_before.name, self.progress_file.name),
            )
        self.epochs_file.unlink(missing_ok=True)
        self.clear_results()

    def save_progress(self, snapshot: Mapping[str, Any]) -> None:
        """Write models/progress.pt."""
        save_checkpoint(dict(snapshot), self.progress_file)

    def load_progress(self) -> dict[str, Any]:
        """Read models/progress.pt.

        Raises:
            UserError: there is none.
        """
        if not self.progress_file.is_file():
            raise UserError(f"{self.progress_file}: no training to resume here; start one without --resume")
        saved: dict[str, Any] = load_checkpoint(self.progress_file)
        return saved

    def save_stage(
        self,
        stage: str,
        weights: Mapping[str, Any],
        settings: Mapping[str, Any],
        scores: Mapping[str, float],
        epoch: int,
    ) -> None:
        """Write a stage's best weights, as its own file and as the model."""
        save_checkpoint(dict(weights), self.models / f"{stage}.pt")
        record = {**settings, "stage": stage, "epoch": epoch, "validation": plain(scores)}
        for name in (stage, "model"):
            write_text(self.models / f"{name}.json", json.dumps(record, indent=2) + "\n")
        save_checkpoint(dict(weights), self.models / "model.pt")
        if is_main():
            self.progress_before.unlink(missing_ok=True)

    def append_epoch(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add one row to eval/epochs.csv; a row of the same epoch is replaced, for a resumed training."""
        row = {"stage": stage, "epoch": str(epoch), **{k: repr(float(v)) for k, v in metrics.items()}}
        rows = [r for r in read_csv(self.epochs_file) if (r["stage"], r["epoch"]) != (stage, str(epoch))]
        write_csv(self.epochs_file, [*rows, row])

    def clear_results(self) -> None:
        """Remove what an earlier run left of each stage: this one may have other stages."""
        if not is_main():
            return
        lesions = ("images", "lesions", "candidates", "froc", "lesion_scores")  # of a class that may not be there now
        tables = (f"{name}.csv" for name in lesions)
        for pattern in ("confusion-*", "lesions-*.json", *tables, "classes-*.png", "predictions/*/*.png"):
            for path in self.eval.glob(pattern):
                path.unlink()

    def clear_panels(self) -> None:
        """Remove the pictures of an earlier run, whose subjects may be others."""
        for picture in self.panels.glob("*.png") if is_main() else ():
            picture.unlink()

    def write_config(self, settings: Mapping[str, Any]) -> Path:
        """Write eval/config.json: the options as they were resolved; of a path only the last part."""
        path = self.eval / "config.json"
        write_text(path, json.dumps(portable(settings), indent=2, ensure_ascii=False) + "\n")
        return path

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write eval/<name>.csv."""
        path = self.eval / f"{name}.csv"
        write_csv(path, rows)
        return path


def load_settings(folder: str | Path, weights: str = "model") -> dict[str, Any]:
    """What the network of models/<weights>.pt was built and trained with.

    Args:
        folder: the output folder of a training.
        weights: "model" (the last stage trained) or the name of a stage.

    Raises:
        UserError: there are no such weights, or the file is broken.
    """
    models = as_path(folder) / "models"
    path = models / f"{weights}.json"
    if not (models / "model.json").is_file():
        raise UserError(f"{models}: no trained model here; run the bundle's training first, or give --output_dir")
    if not path.is_file():
        raise UserError(f"--weights {weights}: not in {models}; there are {_weights_in(models)}")
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: broken JSON ({error}); train again, or restore the file") from error
    return settings


def store_point(folder: str | Path, stage: str, point: Mapping[str, Any]) -> None:
    """Put an operating point beside the weights of a stage, and of the model if that is of this stage."""
    for name in (stage, "model"):
        path = as_path(folder) / "models" / f"{name}.json"
        if path.is_file():
            settings = json.loads(path.read_text(encoding="utf-8"))
            if settings.get("stage") == stage:
                write_text(path, json.dumps({**settings, "operating_point": dict(point)}, indent=2) + "\n")


def _weights_in(models: Path) -> str:
    return ", ".join(sorted(path.stem for path in models.glob("*.json"))) or "none"


def weights_file(folder: str | Path, weights: str = "model") -> str:
    """Path of models/<weights>.pt.

    Raises:
        UserError: there is no such file, or it was cut short.
    """
    models = as_path(folder) / "models"
    path = models / f"{weights}.pt"
    if not path.is_file():
        raise UserError(f"{path}: no such weights; there are {_weights_in(models)}; train again, or restore the file")
    if not zipfile.is_zipfile(path):  # what torch.save writes ends with a directory of its content
        raise UserError(f"{path}: damaged or cut short; restore the file, or train again")
    return str(path)


def plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores as JSON numbers: NaN (class absent) becomes null."""
    return {k: None if math.isnan(v) else float(v) for k, v in scores.items()}


def portable(value: Any) -> Any:
    """Plain values that mean the same on another machine: no absolute path, no object's address."""
    if isinstance(value, Mapping):
        return {str(key): portable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value) if isinstance(value, (str, Path)) else type(value).__name__
    kinds = (PurePosixPath(text), PureWindowsPath(text))
    return next((path.name for path in kinds if path.is_absolute()), text)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    if not is_main():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="")
    part.replace(path)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none if it does not exist."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the union of their keys, in order of first appearance."""
    if not is_main():
        return
    fields = list(dict.fromkeys(key for row in rows for key in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
