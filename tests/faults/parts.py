"""The parts of the run, each of which goes on where it was interrupted."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.pytorch  # noqa: F401
import monai.bundle  # noqa: F401
import torch._dynamo  # noqa: F401
from canaries import run as run_canaries
from dataset_factory import make_dataset
from epochs import run as run_epochs
from forks import import_all
from hostile import run as run_hostile
from hostile import train
from kills import OTHERS, TRAININGS, Chain, Command, chain, empty_store, prepare_others, reference, summary, training

import engines.runs.train  # noqa: F401  (imported once, for all that is forked)
import nets  # noqa: F401
import scripts.prepare
import scripts.sharing.pack  # noqa: F401
import transforms.reading.mammogram  # noqa: F401

SHARE_OF_OTHERS = 0.35


def kills(folder: Path, state: Any, options: argparse.Namespace) -> dict[str, Any]:
    """At least `--kills` kills, a third of them of other commands than trainings."""
    data, store = folder / "data", folder / "empty.db"
    if not data.exists():
        make_dataset(data)
    makers: dict[str, Callable[[Path], Command]] = {
        name: partial(training, options=chosen, data=data) for name, chosen in TRAININGS.items()
    }
    empty_store(store)
    import_all(partial(_warm, makers["unet, early stopping, held-out threshold"], store, folder / "warm"), folder)
    makers |= prepare_others(folder, store)
    for number in range(10 * options.kills):
        chains = state.of("kills", "chain")
        total = sum(len(one["killed"]) for one in chains)
        if total >= options.kills:
            break
        if state.done("kills", "chain", number):
            continue
        others = sum(len(one["killed"]) for one in chains if one["name"] in OTHERS)
        names = OTHERS if others < SHARE_OF_OTHERS * total else tuple(TRAININGS)
        killed = Counter(one["name"] for one in chains for _ in one["killed"])
        name = min(names, key=lambda one: (killed[one], sum(done["name"] == one for done in chains)))
        known = _known(makers[name], folder / f"reference of {name}", store)
        rng, with_store = random.Random(f"{options.seed}/{number}"), number % 8 != 0  # every eighth makes its own
        result = _chain(makers[name], known, rng, folder / "chains" / str(number), store if with_store else None)
        state.add("kills", "chain", {"name": name, "killed": result.killed, "faults": result.faults}, number)
        print(time.strftime("%H:%M:%S"), number, name, len(result.killed), "kills", *result.faults, flush=True)
    return summary(state.of("kills", "chain"))


def _warm(make: Callable[[Path], Command], store: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(store, folder / "mlflow.db")
    make(folder).job(0)()


def _known(make: Callable[[Path], Command], folder: Path, store: Path) -> tuple[dict[str, str], tuple[int, float]]:
    """What the command leaves when it is not killed; found out once."""
    path = folder.with_suffix(".json")
    if not path.exists():
        path.write_text(json.dumps(reference(make, folder, store)))
        shutil.rmtree(folder)
    found, size = json.loads(path.read_text())
    return found, (size[0], size[1])


def _chain(make: Callable[[Path], Command], known: Any, rng: random.Random, folder: Path, store: Path | None) -> Chain:
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    work.mkdir(parents=True)
    if store is not None:
        shutil.copy(store, work / "mlflow.db")
    result = chain(make(work), *known, rng, folder / "logs")
    if not result.faults:
        shutil.rmtree(folder)
    return result


def epochs(folder: Path, state: Any, options: argparse.Namespace) -> dict[str, Any]:
    """`--epochs` epochs of one training."""
    folder.mkdir(parents=True, exist_ok=True)
    empty_store(folder / "empty.db")
    return run_epochs(folder, options.epochs, folder / "empty.db")


def hostile(folder: Path, state: Any, options: argparse.Namespace) -> dict[str, Any]:
    """`--files` hostile files."""
    folder.mkdir(parents=True, exist_ok=True)
    empty_store(folder / "empty.db")
    out, model = train(folder / "network", folder / "empty.db")
    return run_hostile(folder, state, options.files, options.seed, out, model)


def canaries(folder: Path, state: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Planted identifiers; from the start each time, it takes a minute or two."""
    folder.mkdir(parents=True, exist_ok=True)
    empty_store(folder / "empty.db")
    return run_canaries(folder / "run", folder / "empty.db", options.seed)
