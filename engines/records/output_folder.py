"""Output folder of a run: readable without MLflow, files written atomically."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torch import nn

from engines.base.paths import as_path
from engines.base.world import is_main
from engines.records.checkpoint import save_checkpoint
from engines.records.epoch_table import EpochTable
from engines.records.resume_state import Progress
from engines.records.tables import write_csv, write_text
from engines.records.trained_model import DIGEST
from transforms.atomic_write import UNFINISHED
from transforms.digests import file_sha256
from transforms.errors import UserError

STATES = 10
"""Copies of the weights that a training saves: two states with optimizer and best weights, a stage, the model."""


class Output:
    """The folders `models/` and `eval/` of one run; only the first of several processes writes to them.

        models/<stage>.pt    best weights of a stage (a state_dict)
        models/model.pt      best weights of the last stage trained
        models/model.json    settings from which evaluation and inference rebuild the network, and its scores
        models/progress*.pt  state of an interrupted training, to resume it, see `engines.records.resume_state`
        eval/epochs.csv      one row per epoch; eval/scores.csv, eval/subjects.csv, eval/panels/*.png
        eval/config.json     options of the run
        eval/split.json      the subjects of each section
        eval/confusion-<stage>.json   the confusion matrix of every subject; .png: their sum, and classes-<stage>.png
        eval/predictions/    small label maps of a few subjects: <stage>/, truth/ and the images, image/

    Args:
        folder: output folder, created on the first write.
        section: folder below eval/ for the tables and pictures of an evaluation, `<dataset>-<section>`.
    """

    def __init__(self, folder: str | Path, section: str = "") -> None:
        self.folder = as_path(folder)
        self.models = self.folder / "models"
        self.eval = self.folder / "eval" / section
        self.panels = self.eval / "panels"
        self.predictions = self.eval / "predictions"
        self.progress = Progress(self.models)
        self.epochs_file = self.eval / "epochs.csv"
        self.epochs = EpochTable(self.epochs_file)

    def check_room(self, network: nn.Module) -> None:
        """Check before the first epoch that the folder can be written to and has room for what a training saves.

        Raises:
            UserError: it cannot be written to, has too little room, or is a dataset folder.
        """
        if not is_main():
            return
        if (self.folder / "dataset.json").is_file():
            raise UserError(f"--output_dir {self.folder}: is a dataset folder; give another")
        made = [path for path in (self.models, *self.models.parents) if not path.exists()]
        try:
            self.models.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.models) as file:
                file.write(b"\0" * 4096)
                file.flush()
            disk = shutil.disk_usage(self.models)
        except OSError as error:
            raise UserError(
                f"--output_dir {self.folder}: cannot be written to ({error.strerror}); make room or check its rights, "
                "or give another"
            ) from None
        finally:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        needed = STATES * sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
        if disk.total and disk.free < needed:  # some network disks report no size
            raise UserError(
                f"--output_dir {self.folder}: has {disk.free / 1e6:.0f} MB left, and weights and states to resume from "
                f"need up to {needed / 1e6:.0f} MB; make room, or give another"
            )

    def clear_parts(self) -> None:
        """Remove unfinished files of a killed process; to be called by the process that has locked the folder."""
        mine = (self.eval, self.panels, *([self.models, self.folder] if self.eval == self.folder / "eval" else []))
        for folder in mine if is_main() else ():  # an evaluation does not own models/, where a training may be writing
            for path in folder.glob(UNFINISHED):
                path.unlink(missing_ok=True)

    def start_anew(self) -> None:
        """Remove the record of an earlier training; its weights stay until a stage of the new one ends."""
        if not is_main():
            return
        self.progress.set_aside(self.epochs_file.is_file())
        self.epochs_file.unlink(missing_ok=True)
        self.clear_results()

    def save_stage(
        self,
        stage: str,
        weights: Mapping[str, Any],
        settings: Mapping[str, Any],
        scores: Mapping[str, float],
        epoch: int,
    ) -> None:
        """Write a stage's best weights, as its own file and as the model, with their digest beside the settings.

        The order matters: after a kill between any two of the files, `weights_file` still finds the model.
        """
        if not is_main():
            return
        path = self.models / f"{stage}.pt"
        save_checkpoint(dict(weights), path)
        record = {**settings, "stage": stage, "epoch": epoch, "validation": plain(scores), DIGEST: file_sha256(path)}
        for name in (stage, "model"):
            write_text(self.models / f"{name}.json", json.dumps(record, indent=2) + "\n")
        save_checkpoint(dict(weights), self.models / "model.pt")
        self.progress.before.unlink(missing_ok=True)

    def append_epoch(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add one row to eval/epochs.csv; a row of the same epoch is replaced, for a resumed training."""
        row = {"stage": stage, "epoch": str(epoch), **{k: repr(float(v)) for k, v in metrics.items()}}
        self.epochs.put(row)

    def clear_results(self) -> None:
        """Remove the results of an earlier run's stages, which may differ from this run's."""
        if not is_main():
            return
        lesions = ("images", "lesions", "candidates", "froc", "lesion_scores")  # of a class that may not exist now
        tables = (f"{name}.csv" for name in lesions)
        files = ("confusion-*", "lesions-*.json", "boundary-*.json", *tables, "worst.html", "classes-*.png")
        for pattern in (*files, "predictions/*/*.png"):
            for path in self.eval.glob(pattern):
                path.unlink()

    def write_config(self, settings: Mapping[str, Any]) -> Path:
        """Write eval/config.json: the resolved options; of a path only the last part."""
        path = self.eval / "config.json"
        write_text(path, json.dumps(portable(settings), indent=2, ensure_ascii=False) + "\n")
        return path

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write eval/<name>.csv."""
        path = self.eval / f"{name}.csv"
        write_csv(path, rows)
        return path


def plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return scores as JSON numbers: NaN (class absent) becomes null."""
    return {k: None if math.isnan(v) else float(v) for k, v in scores.items()}


def portable(value: Any) -> Any:
    """Return plain values that mean the same on another machine: no absolute path, no object's address."""
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
