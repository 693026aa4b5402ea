"""Tracking store with many runs, made of copies of one training's runs: database rows, and files of scores."""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

TABLES = ("tags", "params", "latest_metrics", "metrics")
"""Tables that hold the data of a run, besides `runs`."""
SUBJECTS, CLASSES = 40, 5


def multiply(database: Path, trainings: int) -> int:
    """Replace the only training of a store by copies that differ in ids, seed and learning rate.

    Returns:
        number of runs in the store.
    """
    artifacts, draws = database.parent / "artifacts", np.random.default_rng(0)
    with closing(sqlite3.connect(database)) as store, store:
        store.row_factory = sqlite3.Row
        runs = [dict(row) for row in store.execute("select * from runs")]
        kept = {
            (table, run["run_uuid"]): [
                dict(row) for row in store.execute(f"select * from {table} where run_uuid = ?", (run["run_uuid"],))
            ]
            for table in TABLES
            for run in runs
        }
        for table in (*TABLES, "runs"):
            store.execute(f"delete from {table}")
        for number in range(trainings):
            ids = {run["run_uuid"]: uuid.uuid4().hex for run in runs}
            for run in runs:
                new = ids[run["run_uuid"]]
                started = run["start_time"] + 1000 * number
                own = {"run_uuid": new, "start_time": started, "artifact_uri": (artifacts / new).as_uri()}
                _insert(store, "runs", {**run, **own})
                for table in TABLES:
                    for row in kept[table, run["run_uuid"]]:
                        _insert(store, table, {**row, "run_uuid": new, **_value(table, row, ids, number)})
                stage = {row["key"]: row["value"] for row in kept["tags", run["run_uuid"]]}.get("stage")
                if stage is not None:
                    _write_scores(artifacts / new / "eval", stage, draws)
        return trainings * len(runs)


def _insert(store: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    places = ", ".join("?" * len(row))
    store.execute(f"insert into {table} ({', '.join(row)}) values ({places})", tuple(row.values()))


def _value(table: str, row: dict[str, Any], ids: dict[str, str], number: int) -> dict[str, str]:
    """Return the changed value of a row: ids named by tags, one of three seeds, or a learning rate per three copies."""
    if table == "tags":
        return {"value": ids.get(row["value"], row["value"])}
    if table == "params" and row["key"] == "seed":
        return {"value": str(number % 3)}
    if table == "params" and row["key"] == "learning_rate":
        return {"value": str(0.001 * (1 + number // 3))}
    return {}


def _write_scores(folder: Path, stage: str, draws: np.random.Generator) -> None:
    """Write a confusion matrix per subject, as a training does."""
    folder.mkdir(parents=True)
    matrices = {}
    for number in range(SUBJECTS):
        right, wrong = draws.integers(100_000, 1_000_000, CLASSES), draws.integers(0, 10_000, (CLASSES, CLASSES))
        matrices[f"s{number:03d}"] = (np.diag(right) + wrong).tolist()
    about = {"row": stage, "section": "validation", "dataset": "drawn", "dataset_digest": "d" * 64, "split_digest": "s"}
    names = ["background", "a", "b", "c", "tumor"]
    (folder / f"confusion-{stage}.json").write_text(json.dumps({**about, "classes": names, "subjects": matrices}))
