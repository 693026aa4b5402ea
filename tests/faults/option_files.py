"""What is done with files that options name, or that a training left: each is read by all that reads such files."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from dataset_factory import make_dataset
from mutations import Hostile

from engines.base.lock import NAME as LOCK
from engines.base.lock import locked
from engines.base.network_file import FILE as NETWORK
from engines.base.network_file import read_rows
from engines.records.attributes import read_attributes
from engines.records.data_record import FILE as DATA
from engines.records.ensemble_members import trained_members
from engines.records.evaluation_record import FILE as EVALUATION
from engines.records.evaluation_record import evaluation_output
from engines.records.mlflow_store import check_server, sqlite_uri
from engines.records.output_folder import Output
from engines.records.resume_state import Progress
from engines.records.seen_subjects import seen_subjects
from engines.records.tables import read_epochs
from engines.records.trained_model import load_settings, weights_file
from scripts.comparison.models import Model
from scripts.comparison.store import Store
from scripts.crossvalidation.fold_table import fold_result
from scripts.crossvalidation.folds import read_folds
from scripts.crossvalidation.state import FILE as CROSSVAL
from scripts.crossvalidation.state import read as read_crossval
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.outputs.findings_table import read_rows as read_findings

SUBJECTS = [f"s{number:03d}" for number in range(6)]


def read_all(file: Hostile, folder: Path) -> int:
    """Put the bytes in the place of each such file in turn, and read it."""
    for name, read in _readers(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        print(f"-- {name}", file=sys.stderr, flush=True)
        try:
            read(path)
        except UserError as error:
            print(f"refused {error}", file=sys.stderr)
        path.unlink()
    return 0


def _readers(folder: Path) -> Iterator[tuple[str, Callable[[Path], object]]]:
    data = Dataset.load(make_dataset(folder / "data"))
    out = folder / "out"
    yield "folds.csv", lambda path: read_folds(path, SUBJECTS)
    yield "attributes.csv", read_attributes
    yield "epochs.csv", read_epochs
    yield "findings.csv", read_findings
    yield "members.json", trained_members
    yield "out/models/model.json", lambda path: load_settings(out)
    yield "out/models/model.pt", lambda path: weights_file(out)
    yield "out/models/progress.pt", lambda path: Progress(path.parent).load()
    yield f"out/models/{DATA}", lambda path: seen_subjects(path.parent, data, "validation")
    yield (
        f"out/eval/tiny-validation/{EVALUATION}",
        lambda path: evaluation_output(Output(out), "tiny", "validation", "0"),
    )
    yield f"crossval/{CROSSVAL}", lambda path: read_crossval(path.parent)
    yield "fold/confusion-unet.json", lambda path: fold_result(path.parent, "unet", "fold", {}, Model("u", "U", (0, 0)))
    yield f"bundle/{NETWORK}", lambda path: read_rows(path.parent)
    yield f"locked/{LOCK}", _lock
    yield "mlflow.db", _store


def _lock(path: Path) -> None:
    with locked(path.parent, "training", "--output_dir"):
        pass
    path.touch()


def _store(path: Path) -> None:
    with contextlib.suppress(sqlite3.Error):  # told to the user in one line
        check_server(sqlite_uri(path))
    Store(sqlite_uri(path), "faults")
