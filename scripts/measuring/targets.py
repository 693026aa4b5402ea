"""Benchmarks of `python -m scripts.benchmark table`, and their lines in the table, one per target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from scripts.measuring.gpu_groups import NETWORKS
from scripts.measuring.rows import Row


@dataclass(frozen=True)
class Line:
    """Line of the table.

    Attributes:
        what: quantity measured.
        here: seconds or rate.
        against: reference and its figure.
        ratio: ratio of both, as defined by the target, with its spread.
        target: target of the ratio; may be empty.
    """

    what: str
    here: str
    against: str
    ratio: str
    target: str = ""


Read = Callable[[Any], Iterator[Line]]


@dataclass(frozen=True)
class Task:
    """A benchmark: arguments of `python -m scripts.benchmark`, reader of its JSON, and approximate duration.

    A `foreign` benchmark runs in the environment of `--peers_python`.
    """

    name: str
    words: Sequence[str]
    read: Read
    minutes: float
    foreign: bool = False


def spread(values: Sequence[float]) -> str:
    """Format median, lowest and highest."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _loop(recipe: str, least: str) -> Read:
    def read(found: Any) -> Iterator[Line]:
        for each in found:
            batch = f"{each['bundle']}, {recipe}, {each['batch']}"
            real, bare = f"{each['real']:.3f} s", f"bare step, {each['bare']:.3f} s"
            yield Line(f"training iteration, {batch}", real, bare, spread(each["ratios"]), least)
            memory, monai = f"{each['memory']:.3f} s", f"MONAI's trainer, {each['monai']:.3f} s"
            target = "≥ 1.0" if each["bundle"] == "unet" else ""
            yield Line(f"the same from memory, {batch}", memory, monai, spread(each["peer_ratios"]), target)
            yield Line(f"bare step, {batch}", bare.split(", ")[1], "rate of matrix products", spread(each["gemm"]))

    return read


def _peers(found: Any) -> Iterator[Line]:
    here = {each["batch"]: each for each in found if each["way"] == "here"}
    for each in found:
        if each["way"] != "here":
            own = here[each["batch"]]
            versions = each["versions"].split(",")[0]
            against = f"{each['way']}, {each['samples_per_second']:.2f} samples/s, {versions}"
            target = "≥ 1.2" if each["way"] == "smp" else ""
            speed = f"{own['samples_per_second']:.2f} samples/s"
            yield Line(f"step of DeepLabv3, {each['batch']}", speed, against, spread(each["ratios"]), target)


def _crops(size: int) -> Read:
    def read(found: Any) -> Iterator[Line]:
        here, *others = found
        speed = f"{here['crops_per_second']:.0f} crops/s, {here['memory_mb']:.1f} MB"
        for each in others:
            against = f"{each['name']}, {each['crops_per_second']:.3g} crops/s, {each['memory_mb']:.0f} MB"
            target = "≥ 1.0" if each["name"] == "shared" else ""
            yield Line(f"crops of {size} pixels", speed, against, spread(each["ratios"]), target)

    return read


def _start(found: Any) -> Iterator[Line]:
    bare = found[0]
    helps = [each for each in found[1:] if each["name"].endswith("--help")]
    slowest = max(helps, key=lambda each: each["ratio"])
    against = f"import typer, rich, {bare['seconds']:.2f} s"
    yield Line(
        f"slowest of {len(helps)} --help", f"{slowest['seconds']:.2f} s", against, f"{slowest['ratio']:.2f}", "≤ 1.5"
    )
    trained = found[len(helps) + 1 :]
    if trained:
        libraries, first = trained[0], trained[-1]
        beyond = first["seconds"] - libraries["seconds"]
        against = f"import torch, monai, mlflow, {libraries['seconds']:.2f} s"
        ratio = f"{first['ratio']:.2f} ({beyond:+.2f} s)"
        yield Line("command to first iteration", f"{first['seconds']:.2f} s", against, ratio, "≤ 1.5 s more")


def _together(found: Any) -> Iterator[Line]:
    alone, several = found
    against = f"{alone['name']}, {alone['seconds']:.2f} s"
    yield Line(several["name"], f"{several['seconds']:.2f} s per epoch", against, f"{several['ratio']:.2f}", "≤ 1.3")


def _inference(found: Any) -> Iterator[Line]:
    base, *others = found
    for each in others:
        against = f"--workers {base['workers']}, {base['images']:.2f} images/s"
        what, ratio = f"inference, --workers {each['workers']}", f"{each['images'] / base['images']:.2f}"
        yield Line(what, f"{each['images']:.2f} images/s", against, ratio)


def _scale(found: Any) -> Iterator[Line]:
    few, many = found[0], found[-1]
    seconds, memory = many["second_seconds"] - few["second_seconds"], many["megabytes"] - few["megabytes"]
    against = f"of {few['images']:,}, {few['second_seconds']:.1f} s, {few['megabytes']:.0f} MB"
    here = f"{many['second_seconds']:.1f} s, {many['megabytes']:.0f} MB"
    what = f"start on {many['images']:,} images"
    yield Line(what, here, against, f"{seconds:+.1f} s, {memory:+.0f} MB", "≤ 3 s, 300 MB more")


def _store(found: Any) -> Iterator[Line]:
    many = found[-1]
    seconds, search = median(many["compare"]), median(many["search"])
    against = f"imports and MLflow's search, {search:.2f} s"
    ratio = f"{seconds / search:.2f}"
    yield Line(f"comparison of {many['runs']:,} runs", f"{seconds:.2f} s", against, ratio, "≤ 5 s")


def _precision(found: Any) -> Iterator[Line]:
    for each in found:
        what = f"step in bf16, {each['bundle']}, {each['batch']}, width {each['width']:g}"
        yield Line(what, f"{each['bf16']:.3f} s", f"fp32, {each['fp32']:.3f} s", spread(each["ratios"]))


def _frozen(found: Any) -> Iterator[Line]:
    seconds = {name: median(each) for name, each in found["seconds"].items()}
    front, cached = seconds["front"], seconds["context, cached"]
    what, equal = "epoch of context, cached", "equal" if found["same"] else "DIFFERENT"
    against = f"front, {front:.2f} s; weights of both ways {equal}"
    yield Line(what, f"{cached:.2f} s", against, f"{cached / front:.3f}", "≤ 0.1")


def tasks() -> list[Task]:
    """Return all benchmarks, the most noticeable ones first and long ones last."""
    quick = [Task(f"loop {name} quick", _loop_words(name), _loop("quick", "≥ 0.90"), 4) for name in NETWORKS]
    wide, read = ["--width", "1", "--batch_size", "2", "--subjects", "2"], _loop("quick, width 1", "≥ 0.95")
    minutes = {"deeplabv3": 3.0, "unet": 4.0, "fcn": 12.0, "dilation10": 25.0}
    full = [Task(f"loop {name} full width", [*_loop_words(name, 5), *wide], read, minutes[name]) for name in minutes]
    return [
        Task("start", ["start", "--repeats", "3", "--json"], _start, 4),
        Task("together", ["together", "--json"], _together, 6),
        *quick,
        Task("peers", ["peers", "--json"], _peers, 6, foreign=True),
        Task("crops 256", ["crops", "--json"], _crops(256), 3),
        Task("crops 900", ["crops", "--crop_size", "900", "--images", "2", "--json"], _crops(900), 3),
        Task("frozen", ["frozen", "--json"], _frozen, 5),
        Task("precision", ["precision", "--json"], _precision, 3),
        Task("inference", ["inference", "--json"], _inference, 5),
        Task("store", ["store", "--json"], _store, 4),
        Task("scale", ["scale", "--json"], _scale, 8),
        *full,
    ]  # fmt: skip


def _loop_words(network: str, epochs: int = 9) -> list[str]:
    return ["loop", "--bundles", network, "--epochs", str(epochs), "--json"]


def gpu_lines(rows: Iterable[Row]) -> Iterator[Line]:
    """Return lines for the latest rows of `python -m scripts.benchmark gpu` on a GPU."""
    latest = {row.key: row for row in rows if not row.device.startswith("cpu")}
    for row in latest.values():
        here = row.note if row.seconds is None else f"{row.seconds:.4f} s"
        against = "bare step" if row.group.startswith("loop") else "fp32"
        ratio, target = "" if row.ratio is None else f"{row.ratio:.2f}", "≥ 0.90" if against == "bare step" else ""
        yield Line(f"{row.group}, {row.way}, {row.batch} on {row.device}", here, against, ratio, target)
