"""All that a command leaves, as texts that are equal if and only if it left the same."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mlflow.tracking import MlflowClient

EXPERIMENT = "faults"
_RUN = re.compile(rb"\b[0-9a-f]{32}\b")
"""An id of MLflow."""
Print = dict[str, str]


def of_folder(folder: Path) -> Print:
    """Digest of every file; of weights that of their tensors, of model.json all but the run."""
    return {
        str(path.relative_to(folder)): _digest(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _digest(path: Path, folder: Path) -> str:
    if path.name.startswith("progress"):
        state = torch.load(path, weights_only=True)
        kept = {name: state[name] for name in ("network", "optimizer", "epoch", "stage", "results", "stopping")}
        return _sha(_plain([kept, state["best"]["weights"], state["best"]["epoch"]]))
    if path.suffix == ".pt":
        return _sha(_plain(torch.load(path, weights_only=True)))
    if path.suffix == ".json" and path.parent.name == "models":
        content = json.loads(path.read_text())
        for name in ("run_id", "files", "weights_sha256"):  # a file has its time; tensors are compared above
            content.pop(name, None)
        return _sha(json.dumps(content, sort_keys=True))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return _sha("".join(f"{i.filename} {i.CRC}\n" for i in archive.infolist() if "models/" not in i.filename))
    content = path.read_bytes()
    if path.suffix in (".json", ".csv", ".txt"):
        content = _RUN.sub(b"run", content.replace(str(folder.parent).encode(), b""))
    return hashlib.sha256(content).hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        content = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return f"{value.dtype}{tuple(value.shape)}{hashlib.sha256(content).hexdigest()}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_plain(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_plain, value)) + "]"
    return repr(value)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_runs(store: Path) -> tuple[Print, list[str]]:
    """The finished training in MLflow, metrics with their steps, and the states of all runs."""
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    found: Print = {}
    for run in runs:
        if run.info.status != "FINISHED":
            continue
        tags = run.data.tags
        name = f"{tags.get('kind')} {tags.get('stage', '')}"
        if name in found:
            name += " again"
        points = {
            metric: [(m.step, m.value) for m in sorted(client.get_metric_history(run.info.run_id, metric), key=_step)]
            for metric in sorted(run.data.metrics)
        }
        artifacts = list(_artifacts(client, run.info.run_id, ""))
        found[name] = json.dumps([points, dict(run.data.params), artifacts], sort_keys=True)
    return found, sorted(run.info.status for run in runs)


def _step(metric: Any) -> int:
    return int(metric.step)


def _artifacts(client: MlflowClient, run: str, folder: str) -> Iterator[str]:
    for entry in client.list_artifacts(run, folder or None):
        if entry.is_dir:
            yield from _artifacts(client, run, entry.path)
        else:
            yield entry.path


def differences(before: Print, after: Print) -> list[str]:
    """What is missing, new, or not the same."""
    names = sorted({*before, *after})
    return [f"{name}: {_kind(before, after, name)}" for name in names if before.get(name) != after.get(name)]


def _kind(before: Print, after: Print, name: str) -> str:
    if name not in after:
        return "missing"
    return "other content" if name in before else "new"
