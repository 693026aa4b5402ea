"""Instructions of mlflow/ work as stated."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mlflow.projects import _project_spec
from mlflow.tracking import MlflowClient
from repository import ROOT

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.scoring.confusion_files import write_confusion_files

FOLDER = ROOT / "mlflow"
BUNDLES = sorted(p.parents[1].name for p in ROOT.glob("bundles/*/configs/train.json"))


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("name", ["train", "evaluate", "compare"])
def test_entry_points_name_what_there_is(name: str, bundle: str) -> None:
    entry = _project_spec.load_project(str(FOLDER)).get_entry_point(name)
    given = {"bundle": bundle} if "bundle" in entry.parameters else {}
    words = shlex.split(entry.compute_command(given, None))
    assert words[:2] == ["python", "-m"]
    if name == "compare":
        assert (ROOT / (words[2].replace(".", "/") + ".py")).is_file()
        return
    config = json.loads((FOLDER / words[words.index("--config_file") + 1]).read_text(encoding="utf-8"))
    options = [word[2:] for word in words if word.startswith("--")]
    assert set(options) - {"config_file"} <= set(config)
    assert "sample_dir" in config


def test_a_moved_store_finds_its_files_after_what_the_readme_says(store: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old place", tmp_path / "new place"
    old.mkdir()
    shutil.move(store, old / "mlflow.db")
    tracking = Tracking("e", "r", str(old / "mlflow.db"))
    tracking.start()
    about = {"labels": {"0": "a", "1": "b"}, "dataset": "d", "dataset_digest": "d", "split_digest": "s"}
    for path in write_confusion_files(Output(tmp_path / "out"), "front", {"s": np.eye(2, dtype=int)}, about, "test"):
        tracking.log_artifacts(path, "eval")
    tracking.end("FINISHED")
    shutil.move(old, new)
    statements = re.findall(r"^    (UPDATE .*;)$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(statements) == 2
    with closing(sqlite3.connect(new / "mlflow.db")) as database:
        for statement in statements:
            places = (("/old/path", old), ("/new/path", new))
            for name, place in places:  # MLflow writes a place as part of a URI
                statement = statement.replace(name, place.as_uri()[len("file://") :])
            database.execute(statement)
        database.commit()
    client = MlflowClient(f"sqlite:///{new / 'mlflow.db'}")
    copy = client.download_artifacts(tracking.run_id, "eval/confusion-front.json", str(tmp_path))
    assert json.loads(Path(copy).read_text(encoding="utf-8"))["row"] == "front"
