"""Hostile files by the thousand, in batches; each file of a batch with a fault is tried again alone."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataset_factory import make_dataset
from forks import MOST_GB, Ended, bundle, forked
from kills import words_of
from mutations import TEXTS, Hostile, hostile_files
from programs import executed
from routes import as_batch
from seeds import image_seeds, text_seeds
from served import Server

BATCH = 50
SECONDS, WALL = 30.0, 900.0
"""Processor seconds that are a fault, and seconds after which something that sleeps is stopped."""
TRACEBACK = "Traceback (most recent call last)"
PLANTED = re.compile(r"ZQ\d{10}")
MESSAGE = 2500
"""Characters of one line of output, names of folders included."""


def run(folder: Path, state: Any, count: int, seed: int, trained: Path, model: Path) -> dict[str, Any]:
    """Make the files, try them all, and count.

    Args:
        trained: output folder of a training.
        model: the same network as an MLflow model.
    """
    dataset = folder / "seed dataset"
    if not dataset.exists():
        make_dataset(dataset, subjects=4)
    seeds = {**image_seeds(folder / "seeds"), **text_seeds(dataset)}
    files = hostile_files(seeds, count, seed)
    for number, batch in enumerate(_batches(files)):
        if not state.done("hostile", "batch", number):
            faults = _batch(batch, folder / "batch", trained)
            state.add("hostile", "batch", {"files": len(batch), "faults": faults}, number)
            print(time.strftime("%H:%M:%S"), "batch", number, len(batch), batch[0].kind, *faults, flush=True)
    _serve([file for file in files if file.kind not in TEXTS], state, Server(model, folder / "server"))
    return _summary(files, state)


def train(folder: Path, store: Path) -> tuple[Path, Path]:
    """A network trained for one epoch, as an output folder and as an MLflow model."""
    out, model = folder / "trained", folder / "model"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "data").exists():
            make_dataset(folder / "data")
        shutil.copy(store, folder / "mlflow.db")
        options = {"bundle": "unet", "recipe": "paper", "width": 0.02, "image_height": "$None", "init_weights": "$None"}
        options |= {"max_epochs": 1, "crop_size": 24, "batch_size": 4, "micro_batch_size": 4, "log_model": True}
        options |= {"dataset_dir": folder / "data", "output_dir": out, "tracking_uri": folder / "mlflow.db"}
        ended = forked(bundle(words_of("train", options)), folder / "train.log", WALL)
        assert ended.code == 0, ended.output
        (found,) = (path.parent for path in folder.glob("mlruns/**/MLmodel"))
        shutil.copytree(found, model)
    return out, model


def _batches(files: Sequence[Hostile]) -> Iterator[list[Hostile]]:
    """Of one kind, or of several kinds of images."""
    for texts in (False, True):
        kinds = [file for file in files if (file.kind in TEXTS) == texts and file.kind != "npy"]
        arrays = [file for file in files if file.kind == "npy" and not texts]
        for group in (kinds, arrays):
            yield from (group[first : first + BATCH] for first in range(0, len(group), BATCH))


def _batch(batch: Sequence[Hostile], folder: Path, trained: Path) -> list[str]:
    """Faults of a batch; if there are any, of each file alone. Memory and time are limited for each file."""
    together = _try(batch, folder, trained)
    if not together:
        return []
    alone = [
        f"{file.number} {file.kind} {file.how}: {fault}" for file in batch for fault in _try([file], folder, trained)
    ]
    costs = re.compile(r"[0-9.]+ GB|[0-9]+ s of processor time")
    rest = [fault for fault in together if not costs.fullmatch(fault)]
    return alone or [f"{batch[0].number} to {batch[-1].number} together: {fault}" for fault in rest]


def _try(batch: Sequence[Hostile], folder: Path, trained: Path) -> list[str]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = executed()
    ended = forked(as_batch(batch, folder, trained), folder.with_suffix(".log"), WALL)
    faults = _faults(ended, one=len(batch) == 1) + [f"executed {what}" for what in executed()[len(before) :]]
    leaks = sorted({found for found in PLANTED.findall(_all_text(ended.output, folder, batch))})
    return faults + [f"leaked {', '.join(leaks[:5])}"] * bool(leaks)


def _faults(ended: Ended, one: bool) -> list[str]:
    nothing = one and "could be segmented" in ended.output  # what an inference of one file rightly says
    found = [] if ended.code == 0 or nothing else [f"exit code {ended.code}: {ended.output[-400:]!r}"]
    found += ["traceback"] * (TRACEBACK in ended.output and not found)
    found += [f"{ended.gb:.1f} GB"] * (ended.gb > MOST_GB)
    found += [f"stopped after {ended.stopped}"] * bool(ended.stopped)
    found += [f"{ended.busy:.0f} s of processor time"] * (ended.busy > SECONDS)
    longest = max(map(len, ended.output.splitlines()), default=0)
    found += [f"a line of {longest} characters"] * (longest > MESSAGE)
    controls = re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\u202e]", ended.output)
    return found + [f"control characters printed: {sorted(set(controls))!r}"] * bool(controls)


def _all_text(output: str, folder: Path, batch: Sequence[Hostile]) -> str:
    """What was printed and written, but for the hostile files themselves and their copies."""
    names = {file.name for file in batch}
    texts = [output]
    for path in folder.rglob("*"):
        source = path.name in names or {"labels", "in", "dicom", "data"} & set(path.relative_to(folder).parts)
        if path.is_file() and not source and "images" not in path.parts:
            texts.append(path.read_bytes().decode("latin-1"))
    return "\n".join(texts)


def _serve(files: Sequence[Hostile], state: Any, server: Server) -> None:
    """Send every image; a server that has ended is a fault, and is started again."""
    rest = [file for file in files if not state.done("hostile", "answer", file.number)]
    if not rest:
        return
    server.start()
    try:
        for file in rest:
            seen, before, busy = len(_log(server)), executed(), server.busy_seconds()
            status, text = server.send(file.content)
            faults = _answer_faults(status, text, _log(server)[seen:])
            faults += [f"executed {what}" for what in executed()[len(before) :]]
            spent, gb = server.busy_seconds() - busy, server.gb()
            faults += [f"{spent:.0f} s of processor time"] * (spent > SECONDS) + [f"{gb:.1f} GB"] * (gb > MOST_GB)
            result = {"status": status, "gb": round(gb, 2), "faults": [f"{file.kind} {file.how}: {f}" for f in faults]}
            state.add("hostile", "answer", result, file.number)
            if faults:
                print(time.strftime("%H:%M:%S"), "served", file.number, file.kind, file.how, *faults, flush=True)
            if status == -1:
                server.stop()
                server.start()
    finally:
        server.stop()


def _log(server: Server) -> str:
    return server.log.read_bytes().decode("utf-8", "backslashreplace")


def _answer_faults(status: int, text: str, printed: str) -> list[str]:
    if status == 200:
        message = ""
    elif status == 400:
        try:
            message = json.loads(text)["message"].rpartition("\nError: ")[2]  # before that MLflow repeats the request
        except (ValueError, KeyError, TypeError):
            return [f"an answer that is no message: {text[:200]!r}"]
    else:
        return [f"status {status}: {text[:300]!r}"]
    found = ["traceback in the answer"] * (TRACEBACK in text) + ["traceback in the log"] * (TRACEBACK in printed)
    found += ["a message of several lines"] * ("\n" in message)
    leaks = sorted(set(PLANTED.findall(message + printed)))
    return found + [f"leaked {', '.join(leaks[:5])}"] * bool(leaks)


def _summary(files: Sequence[Hostile], state: Any) -> dict[str, Any]:
    batches, answers = state.of("hostile", "batch"), state.of("hostile", "answer")
    faults = [fault for one in batches for fault in one["faults"]]
    faults += [f"served {one['number']} {fault}" for one in answers for fault in one["faults"]]
    return {
        "files": sum(one["files"] for one in batches),
        "of each kind": dict(Counter(file.kind for file in files)),
        "made by hand": sum("+" not in file.how and not file.how.isidentifier() for file in files),
        "sent to the server": len(answers),
        "answers": {str(k): v for k, v in Counter(one["status"] for one in answers).items()},
        "most memory of the server": f"{max((one['gb'] for one in answers), default=0):.2f} GB",
        "executions": sum("executed" in fault for fault in faults),
        "tracebacks": sum("traceback" in fault.lower() for fault in faults),
        f"above {MOST_GB:g} GB": sum(fault.endswith(" GB") for fault in faults),
        f"above {SECONDS:g} s": sum(" s of processor" in fault or "stopped after" in fault for fault in faults),
        "leaks": sum("leaked" in fault for fault in faults),
        "ended the whole": sum("exit code" in fault or "status -1" in fault for fault in faults),
        "faults": faults,
    }
