"""Checks of the machine and installation, one function each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from engines.base.paths import project_root
from engines.base.processors import available_processors
from engines.base.threads import given
from engines.inference.tiling.memory import GB, free_memory
from engines.records.mlflow_store import check_server, default_tracking_uri, disable_telemetry, sqlite_path
from scripts.checkup.package_versions import packages, python
from transforms.plain_text import one_line

OK, NOTE, PROBLEM = "ok", "note", "problem"
DISK_GB, MEMORY_GB, SHARED_GB = 2.0, 2.0, 0.25
"""Free disk, memory and shared memory below which training on the sample fails or may fail."""

SYNTAXES = {
    "JPEG": "1.2.840.10008.1.2.4.50",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report: `state` is ok, note or problem; `remedy` is empty if nothing is to be done."""

    name: str
    state: str
    text: str
    remedy: str = ""


def checkup() -> list[Finding]:
    """Run all checks; a check that fails to run is reported as a problem."""
    disable_telemetry()
    parts: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "packages": _packages,
        "device": _device,
        "memory": _memory,
        "shared memory": _shared_memory,
        "disk": _disk,
        "threads": _threads,
        "decoders": _decoders,
        "tracking": _tracking,
        "folder": _folder,
    }
    found = []
    for name, part in parts.items():
        try:
            found.append(part())
        except Exception as error:  # a damaged installation may raise anything
            reason = one_line(f"{type(error).__name__}: {error}")[:200]
            found.append(Finding(name, PROBLEM, reason, "reinstall: pip install --force-reinstall mammoseg"))
    return found


def _python() -> Finding:
    text, fits = python()
    return Finding("python", OK if fits else NOTE, text, "" if fits else "it may work; tested versions are safer")


def _packages() -> Finding:
    text, problems, others = packages()
    if problems:
        return Finding("packages", PROBLEM, "; ".join(problems), "pip install --upgrade mammoseg, or the named package")
    remedy = "results may differ slightly from those in the documentation" if others else ""
    return Finding("packages", NOTE if others else OK, text, remedy)


def _device() -> Finding:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        memory = torch.cuda.mem_get_info()[0] / GB
        return Finding("device", OK, f"{', '.join(names)}; {memory:.1f} GB free on the first")
    if torch.version.cuda and shutil.which("nvidia-smi"):
        remedy = "compare the driver version (nvidia-smi) with torch.version.cuda; install a torch for that driver"
        return Finding("device", PROBLEM, "torch cannot use the GPU of this machine", remedy)
    return Finding("device", OK, "CPU; `quick` takes minutes, `paper` needs a GPU")


def _memory() -> Finding:
    free = free_memory() / GB
    remedy = "close other programs, or give --memory_gb and a smaller --batch_size" if free < MEMORY_GB else ""
    return Finding("memory", NOTE if remedy else OK, f"{free:.1f} GB free", remedy)


def _shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    if not folder.is_dir():
        return Finding("shared memory", OK, "not on this system")
    total = shutil.disk_usage(folder).total / GB
    remedy = "--num_workers 0, or docker run --shm-size 2g" if total < SHARED_GB else ""
    return Finding("shared memory", NOTE if remedy else OK, f"{total:.2f} GB in {folder}", remedy)


def _disk() -> Finding:
    free = shutil.disk_usage(project_root()).free / GB
    remedy = "make room, or work in another folder" if free < DISK_GB else ""
    return Finding("disk", PROBLEM if remedy else OK, f"{free:.1f} GB free in {project_root()}", remedy)


def _threads() -> Finding:
    processors, name = available_processors(), given()
    text = f"{torch.get_num_threads()} torch threads, {processors} processors"
    if name is None:
        return Finding("threads", OK, text + "; a training uses the processors that others leave free")
    number = os.environ[name]
    if number.isdecimal() and int(number) > processors:
        return Finding(
            "threads", NOTE, f"{text}; {name}={number}", f"more threads than processors are slow; unset {name}"
        )
    return Finding("threads", OK, f"{text}; {name}={number}")


def _decoders() -> Finding:
    from pydicom.pixels.decoders.base import get_decoder

    missing = [name for name, uid in SYNTAXES.items() if not get_decoder(uid).is_available]
    remedy = "pip install pylibjpeg pylibjpeg-openjpeg pylibjpeg-rle pyjpegls python-gdcm" if missing else ""
    text = f"missing for {', '.join(missing)}" if missing else f"DICOM: {', '.join(SYNTAXES)}"
    return Finding("decoders", PROBLEM if missing else OK, text, remedy)


def _tracking() -> Finding:
    uri = default_tracking_uri()
    path = sqlite_path(uri)
    shown = str(path) if path is not None else uri.rpartition("@")[2]  # without the password
    try:
        check_server(uri)
    except Exception as error:
        remedy = (
            "start the server, or correct MLFLOW_TRACKING_URI"
            if path is None
            else "move the file, or give --tracking_uri"
        )
        return Finding("tracking", PROBLEM, f"{shown}: {one_line(error)[:120]}", remedy)
    made = "" if path is None or path.exists() else ", created by the first training"
    return Finding("tracking", OK, f"{shown}{made}")


def _folder() -> Finding:
    folder = project_root()
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("folder", PROBLEM, f"{folder}: {error.strerror}", "work in a folder with write permission")
    return Finding("folder", OK, f"results go to {folder}")
