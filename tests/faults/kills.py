"""Commands that are killed and started again end with what they leave when nobody kills them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dataset_factory import make_dataset
from dicom_factory import write_dicom
from fingerprint import EXPERIMENT, Print, differences, of_folder, of_runs
from forks import Ended, bundle, end_session, forked
from mlflow.tracking import MlflowClient
from moments import Moments

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600.0
PLAIN: dict[str, Any] = {
    **{"recipe": "paper", "width": 0.02, "image_height": "$None", "init_weights": "$None", "crops_per_image": 2},
    **{
        "batch_size": 4,
        "micro_batch_size": 4,
        "crop_size": 24,
        "log_model": False,
        "patience": 0,
        "learning_rate": 0.01,
    },
}
FINE_TUNING = "{'epochs': 1, 'crop_size': [32, 24], 'learning_rate': 0.005}"
"""Of each stage the last epoch, with crops of their own."""
TRAININGS: dict[str, dict[str, Any]] = {
    "dilation10, three stages": {"bundle": "dilation10", "max_epochs": 4, "fine_tuning": FINE_TUNING},
    "fcn, three stages, moving average": {
        **{"bundle": "fcn", "max_epochs": 4, "ema_decay": 0.9, "solver": "adamw", "fine_tuning": FINE_TUNING},
    },
    "deeplabv3, a worker process": {"bundle": "deeplabv3", "max_epochs": 6, "num_workers": 1},
    "unet, early stopping, held-out threshold": {
        **{"bundle": "unet", "max_epochs": 8, "patience": 3, "learning_rate": 0.01, "sampling": "lesion"},
        **{"threshold_from": "training", "threshold_share": 0.3, "augmentation": "lesion", "val_interval": 2},
    },
    "unet, logged model": {"bundle": "unet", "max_epochs": 3, "log_model": True},
}
START, STARTS = 0.3, 0.15
"""A command's start, as a share of its time, and the share of the kills that are meant for it."""
KEPT = 0.7
"""What a resumed command need not do again, of what a killed one has done."""
TRACEBACK, LOST = "Traceback (most recent call last)", "exception ignored "
"""Python's own, and one of an object that is being removed: there a signal is lost, and the command goes on."""
STAGE = re.compile(r"^Stage (\w+)", re.MULTILINE)
THIRDS = ("first", "second", "last")
OTHERS = ("import", "evaluation", "inference", "share", "cross-validation")


@dataclass
class Chain:
    """One command, killed and started again until it ends.

    Attributes:
        killed: where and how, of each kill.
        faults: what should not be.
    """

    killed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Command:
    """A command of which attempts are made in a folder.

    Attributes:
        job: makes one attempt; is told its number, from 0.
        left: what it leaves when it ends.
        folder: below which its writes count.
        kills: at most, of one chain.
    """

    job: Callable[[int], Callable[[], object]]
    left: Callable[[], Print]
    folder: Path
    kills: int = 7


def training(folder: Path, options: dict[str, Any], data: Path) -> Command:
    """A training in `folder`/out, with its own MLflow store."""
    merged = {**PLAIN, **options, "dataset_dir": data, "output_dir": folder / "out"}
    words = words_of("train", {**merged, "tracking_uri": folder / "mlflow.db", "experiment_name": EXPERIMENT})

    def job(attempt: int) -> Callable[[], None]:
        resumed = any((folder / "out" / "models").glob("progress*.pt"))
        return bundle([*words, "--resume", str(resumed).lower()])

    def left() -> Print:
        runs, states = of_runs(folder / "mlflow.db")
        files = {name: digest for name, digest in of_folder(folder / "out").items() if "progress-previous" not in name}
        wrong = {"runs left RUNNING": str(states.count("RUNNING"))} if "RUNNING" in states else {}
        return {**files, **runs, **wrong}

    return Command(job, left, folder)


def words_of(config: str, options: dict[str, Any]) -> list[str]:
    """Options of a bundle's config; "bundle" among them names it."""
    path = ROOT / "bundles" / options["bundle"] / "configs" / f"{config}.json"
    given = [(f"--{key}", str(value)) for key, value in options.items() if key != "bundle"]
    return ["--config_file", str(path), *(word for pair in given for word in pair)]


def attempt(command: Command, number: int, kill: tuple[int, int | None, float | None] | None, log: Path) -> Ended:
    """One start of a command.

    Args:
        number: of the attempt.
        kill: signal, moment or None, seconds after which it is sent or None; None lets it end.
    """
    sign, at, after = kill or (signal.SIGKILL, None, None)
    moments = Moments(command.folder, at, sign, log.with_suffix(".moments"))
    sent: list[float] = []

    def job() -> object:
        moments.install()
        try:
            return command.job(number)()
        finally:
            moments.finish()

    def watch(pid: int, seconds: float) -> None:
        if after is not None and seconds > after and not sent:
            sent.append(seconds)
            end_session(pid) if sign == signal.SIGKILL else _send(pid, sign)

    return forked(job, log, LIMIT, watch)


def _send(pid: int, sign: int) -> None:
    os.kill(pid, sign)


def chain(command: Command, reference: Print, size: tuple[list[float], float], rng: random.Random, logs: Path) -> Chain:
    """Kill a command as often as it may be, then let it end, and compare.

    The kills spread over what is left to do, so that late stages get as many as early ones.

    Args:
        reference: what it leaves when it is not killed.
        size: the times of its moments, and the seconds that it takes.
    """
    result, rest = Chain(), 1.0
    for number in range(40):
        share = 0.0 if rng.random() < STARTS else rest * rng.random()
        at = START + (1 - START) * share if share else START * rng.random()
        kill, place = _draw(rng, size, at) if len(result.killed) < command.kills else None, 1 - rest + share
        rest = max(0.1, rest - KEPT * share)
        ended = attempt(command, number, kill, logs / f"{number}.log")
        if _traceback(ended.output):
            result.faults.append(f"attempt {number}: traceback ({logs / f'{number}.log'})")
        if ended.stopped:
            result.faults.append(f"attempt {number}: did not end ({ended.stopped})")
        if ended.code == 0:
            break
        if kill is None:
            result.faults.append(f"attempt {number}: ended with {ended.code}: {ended.output[-300:]}")
            return result
        kind = "moment" if kill[1] else "time"
        result.killed.append(f"{signal.Signals(kill[0]).name} {kind} {_stage(ended.output)} {place:.2f}")
        if _hopeless(ended, kill[0]):
            result.faults.append(f"attempt {number}: ended with {ended.code}: {ended.output[-300:]}")
            return result
    result.faults += differences(reference, left(command, logs / "left.log"))[:5]
    return result


def _traceback(output: str) -> bool:
    """Whether there is one, other than Python's own of a Ctrl-C that comes before the bundle's first line runs."""
    output = re.sub(r"Exception ignored in[^\n]*\n", LOST, output)
    early = output.rstrip().endswith("KeyboardInterrupt") and "/engines/" not in output and "/scripts/" not in output
    return TRACEBACK in output.replace(f"{LOST}{TRACEBACK}", "") and not early


def left(command: Command, log: Path) -> Print:
    """What a command left, found out in a process that has not seen its database before."""
    path = log.with_suffix(".json")
    ended = forked(lambda: path.write_text(json.dumps(command.left())) and 0, log, LIMIT)
    assert ended.code == 0, ended.output
    found: Print = json.loads(path.read_text())
    return found


def _hopeless(ended: Ended, sign: int) -> bool:
    """Whether it ended by itself, with an error that is not that of the signal."""
    return ended.code > 0 and "Interrupted." not in ended.output and sign == signal.SIGKILL


def _draw(rng: random.Random, size: tuple[list[float], float], share: float) -> tuple[int, int | None, float | None]:
    """Signal, and moment or time, at a share of the time that the whole command takes."""
    sign = rng.choice([signal.SIGKILL] * 3 + [signal.SIGTERM] * 2 + [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
    if rng.random() < 0.7:
        return sign, 1 + min(bisect_left(size[0], share * size[1]), len(size[0]) - 1), None
    return sign, None, share * size[1]


def _stage(output: str) -> str:
    found = STAGE.findall(output)
    return found[-1] if found else "none"


def empty_store(path: Path) -> None:
    """An MLflow database without runs, which takes seconds to make."""
    if not path.exists():
        ended = forked(
            lambda: MlflowClient(f"sqlite:///{path}").search_experiments() and 0, path.with_suffix(".log"), 900
        )
        assert ended.code == 0, ended.output


def prepare_others(folder: Path, store: Path) -> dict[str, Callable[[Path], Command]]:
    """Commands other than trainings, by what they are called; what they need is made in `folder`."""
    source, trained = folder / "source", folder / "trained"
    if not source.exists():
        import numpy as np

        rows, columns = np.mgrid[:40, :32]
        for number in range(24):
            pixels = (rows * 40 + columns * (number + 3)).astype(np.uint16)
            write_dicom(
                source / f"{number}.dcm", pixels, PatientID=f"p{number}", ImageLaterality="L", ViewPosition="CC"
            )
    data = make_dataset(folder / "data") if not (folder / "data").exists() else folder / "data"
    if not (trained / "out" / "models" / "model.pt").exists():
        shutil.rmtree(trained, ignore_errors=True)
        trained.mkdir()
        shutil.copy(store, trained / "mlflow.db")
        made = training(trained, {"bundle": "unet", "max_epochs": 1}, data)
        ended = attempt(made, 0, None, folder / "trained.log")
        assert ended.code == 0, ended.output
    kinds = {"import": _import, "evaluation": _evaluation, "inference": _inference, "share": _share}
    kinds["cross-validation"] = _cross_validation
    return {name: partial(kinds[name], source, data, trained) for name in OTHERS}


def _import(source: Path, data: Path, trained: Path, folder: Path) -> Command:
    from scripts.prepare import main

    words = ["dicom", str(source), str(folder / "out"), "--quiet"]

    def job(attempt: int) -> Callable[[], int]:
        done = (folder / "out").exists()  # killed when all was written: the next start would refuse the folder
        return lambda: main([*words, *["--overwrite"] * done])

    return Command(job, lambda: _below(folder), folder)


def _evaluation(source: Path, data: Path, trained: Path, folder: Path) -> Command:
    if not (folder / "out").exists():
        shutil.copytree(trained / "out", folder / "out")
    options = {"bundle": "unet", "dataset_dir": data, "output_dir": folder / "out", "experiment_name": EXPERIMENT}
    words = words_of("evaluate", {**options, "tracking_uri": folder / "mlflow.db"})

    def left() -> Print:
        runs, states = of_runs(folder / "mlflow.db")
        for name in [name for name in runs if runs[name] == runs.get(f"{name} again")]:
            del runs[f"{name} again"]  # killed when its run had finished: the next start has evaluated again, the same
        return {**of_folder(folder / "out"), **runs, "RUNNING": str(states.count("RUNNING"))}

    return Command(lambda _: bundle(words), left, folder)


def _inference(source: Path, data: Path, trained: Path, folder: Path) -> Command:
    options = {"bundle": "unet", "dataset_dir": source, "output_dir": trained / "out", "results_dir": folder / "out"}
    formats = "['nifti','png','overlay','geojson','findings']"
    words = words_of("inference", {**options, "formats": formats, "resume": "true"})
    return Command(lambda _: bundle(words), lambda: _below(folder), folder)


def _share(source: Path, data: Path, trained: Path, folder: Path) -> Command:
    from scripts.share import main

    words = ["unet", str(folder / "unet.zip"), "--output_dir", str(trained / "out"), "--data_licence", "none"]
    words.append("--overwrite")  # the last one may have been killed when its zip was there
    return Command(lambda _: lambda: main([*words, "--formats", "ts"]), lambda: _below(folder), folder)


def _cross_validation(source: Path, data: Path, trained: Path, folder: Path) -> Command:
    from scripts.crossval import main

    words = ["unet", "--folds", "2", "--dataset_dir", str(data), "--out", str(folder / "out")]
    words += ["--tracking_uri", str(folder / "mlflow.db"), "--experiment_name", EXPERIMENT, "--max_epochs", "2"]
    words += [word for key, value in PLAIN.items() for word in (f"--{key}", str(value))]

    def left() -> Print:
        runs, states = of_runs(folder / "mlflow.db")
        files = {name: digest for name, digest in of_folder(folder / "out").items() if "progress-previous" not in name}
        return {**files, **runs, "RUNNING": str(states.count("RUNNING"))}

    return Command(lambda _: lambda: main(words), left, folder, kills=4)


def _below(folder: Path) -> Print:
    """Also hidden files; not the database, which these commands leave alone."""
    return {name: digest for name, digest in of_folder(folder).items() if not name.startswith("mlflow.db")}


def reference(make: Callable[[Path], Command], folder: Path, store: Path) -> tuple[Print, tuple[list[float], float]]:
    """What a command leaves that is not killed, with its moments and seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(store, folder / "mlflow.db")
    command, log = make(folder), folder.parent / f"{folder.name}.log"
    ended = attempt(command, 0, None, log)
    assert ended.code == 0, ended.output[-2000:]
    return left(command, log.with_suffix(".left")), (json.loads(log.with_suffix(".moments").read_text()), ended.seconds)


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts over all chains."""
    kills = [kill for one in results for kill in one["killed"]]
    return {
        "chains": len(results),
        "kills": len(kills),
        "signals": dict(Counter(kill.split()[0] for kill in kills)),
        "at a write": sum(" moment " in kill for kill in kills),
        "at a time": sum(" time " in kill for kill in kills),
        "by command": dict(Counter(one["name"] for one in results for _ in one["killed"])),
        "by stage": dict(Counter(kill.split()[2] for kill in kills)),
        "by third of the command": dict(Counter(THIRDS[min(2, int(3 * float(kill.split()[3])))] for kill in kills)),
        "chains that did not end with the same": sum(bool(one["faults"]) for one in results),
        "faults": [f"{one['name']} {one['number']}: {fault}" for one in results for fault in one["faults"]],
    }


if __name__ == "__main__":
    sys.exit("run: python tests/faults --only kills")
