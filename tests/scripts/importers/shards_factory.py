"""Sources of an import that machines share, and its command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import ramp, write_dicom
from PIL import Image

from scripts.prepare import main


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pictures(folder: Path) -> list[str]:
    """Seven images of four women, one of them broken, with a split of our own."""
    for number, name in enumerate(["w1_L_CC", "w1_R_CC", "w2_L_CC", "w3_L_MLO", "w3_R_MLO", "w4_L_CC"]):
        for kind, pixels in (("images", ramp((20, 16), 8) + number), ("labels", np.eye(20, 16) * (number % 3 > 0))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / kind / f"{name}.png")
    (folder / "images" / "w1_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    shutil.copy(folder / "labels" / "w1_L_CC.png", folder / "labels" / "w1_broken.png")
    (folder / "split.csv").write_text("subject,fold\nw1,1\nw2,2\nw3,2\nw4,test\nw1_broken,2\n")
    (folder / "key").write_text("0123456789abcdef0123")
    options = ["--values", "0=background,1=tumor", "--split", str(folder / "split.csv"), "--flip", "left"]
    return ["folder", str(folder / "images"), str(folder / "labels"), *options, "--subject_key", str(folder / "key")]


def dicom(folder: Path) -> list[str]:
    """Five DICOM files of three women, two of them one view FOR PROCESSING and FOR PRESENTATION, and a damaged one."""
    words: list[dict[str, Any]] = [
        {"PatientID": "PLANTED-ID-1", "PresentationIntentType": "FOR PROCESSING"},
        {"PatientID": "PLANTED-ID-2", "ImageLaterality": "R"},
        {"PatientID": "PLANTED-ID-1"},
        {"PatientID": "PLANTED-ID-3"},
        {"PatientID": "PLANTED-ID-3", "ImageLaterality": "R"},
    ]
    for number, more in enumerate(words):
        word = {"ImageLaterality": "L", "ViewPosition": "CC", **more}
        write_dicom(folder / "images" / f"PLANTED-ID-{number}.dcm", ramp((24, 16)) + number, **word)
    whole = (folder / "images" / "PLANTED-ID-3.dcm").read_bytes()
    (folder / "images" / "PLANTED-ID-damaged.dcm").write_bytes(whole[:-200])
    return ["dicom", str(folder / "images")]


SOURCES = {"pictures": pictures, "dicom": dicom}


def run(words: list[str], out: Path, *more: str) -> int:
    return main([*words[:1], *words[1 : 3 if words[0] == "folder" else 2], str(out), *words[3:], *more, "--quiet"])


def import_parts(words: list[str], out: Path, count: int, *more: str) -> None:
    for number in range(count, 0, -1):
        assert run(words, out, "--shard", f"{number}/{count}", *more) == 0


def refused(words: list[str], out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert run(words, out, *more) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line
