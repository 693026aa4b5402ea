"""What is done with hostile files: import, check, inference; as images, labels, annotations, tables and records."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from dataset_factory import make_dataset
from dicom_factory import ramp, write_dicom
from forks import bundle
from kills import words_of
from mutations import TEXTS, Hostile
from option_files import read_all
from PIL import Image
from seeds import SHAPE, pixels

from engines.runs.infer import find_images
from scripts.prepare import main as prepare
from transforms.errors import UserError
from transforms.reading.load_mammogram import LoadMammogramd

Job = Callable[[], object]
LABELS_EVERY = 4
"""Every so many images are also tried as a label image."""
FORMATS = "['nifti','png','overlay','geojson','findings']"


class UnexpectedEndError(Exception):
    """A command ended otherwise than with 0, or one line and 2."""


def as_batch(files: Sequence[Hostile], folder: Path, trained: Path) -> Job:
    """One process for many files; all of them are of texts, or none is."""
    if files[0].kind in TEXTS:
        return lambda: [_one_text(file, folder / str(file.number)) for file in files] and 0
    return lambda: _images(files, folder, trained)


def _begin(what: str) -> None:
    print(f"-- {what}", file=sys.stderr, flush=True)


def _prepare(*words: object, codes: Sequence[int] = (0,)) -> int:
    _begin(" ".join(map(str, words)))
    code = prepare([*map(str, words)])
    if code not in codes:
        raise UnexpectedEndError(f"exit code {code} of {words}")
    return code


def write(file: Hostile, folder: Path, name: str | None = None) -> Path:
    """The file, and what belongs beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or file.name)
    path.write_bytes(file.content)
    for other, content in file.beside.items():
        beside = folder / other
        if content is None and not beside.exists():
            os.mkfifo(beside)
        elif content is not None:
            beside.write_bytes(content)
    return path


def _good(folder: Path, count: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(pixels(8) + number).save(folder / f"good{number}.png")


def _images(files: Sequence[Hostile], folder: Path, trained: Path) -> int:
    """Import beside good images, look at what came of it, segment; some are label images as well."""
    images, labels = folder / "images", folder / "labels"
    _good(images)
    labels.mkdir()
    for number in range(2):
        Image.fromarray((pixels(8) > 128).astype(np.uint8)).save(labels / f"good{number}.png")
    for file in files:
        write(file, images)
    common = ("--values", "0=background,1=tumor", "--quiet", "--workers", 1)
    _prepare("folder", images, labels, folder / "out", *common, "--unlabelled", "keep")
    _prepare("check", folder / "out", "--sheet", folder / "sheet.png", "--quiet", codes=(0, 1))
    shutil.rmtree(folder / "out")
    if any(file.kind == "dicom" for file in files):
        write_dicom(folder / "dicom" / "good.dcm", ramp(SHAPE))
        for file in files:
            write(file, folder / "dicom")
        _prepare("dicom", folder / "dicom", folder / "out", "--quiet", "--workers", 1)
        shutil.rmtree(folder / "out")
    for file in files:
        if file.number % LABELS_EVERY == 0 and file.kind in ("png", "tiff", "bmp", "jpeg", "npy", "nifti"):
            one = folder / f"label {file.number}"
            _good(one / "images", 1)
            shutil.copy(images / "good1.png", one / "images" / "good1.png")
            for other in (0, 1):
                write(file, one / "labels", f"good{other}{file.suffix}")
            _prepare("folder", one / "images", one / "labels", one / "out", *common, codes=(0, 2))
    if files[0].kind == "npy":
        _arrays(files, folder)
    _begin("inference")
    results = {"results_dir": folder / "results", "formats": FORMATS}
    bundle(words_of("inference", {"bundle": "unet", "dataset_dir": images, "output_dir": trained, **results}))()
    return 0


def _arrays(files: Sequence[Hostile], folder: Path) -> None:
    """As images and labels of a dataset folder."""
    for what in ("images", "labels"):
        for file in files:
            data = make_dataset(folder / f"{what} {file.number}", subjects=3)
            (data / what / "s000_L_CC.npy").write_bytes(file.content)
            _prepare("check", data, "--quiet", codes=(0, 1))
            _inference(data)


def _inference(data: Path) -> None:
    """What an inference of a dataset folder reads, without the network."""
    _begin(f"read {data}")
    read = LoadMammogramd("image")
    try:
        items = find_images(data)
    except UserError as error:
        print(f"refused {error}", file=sys.stderr)
        return
    for item in items:
        try:
            read(item)
        except UserError as error:
            print(f"refused {error}", file=sys.stderr)


def _one_text(file: Hostile, folder: Path) -> int:
    routes = {"geojson": _geojson, "xml": _xml, "csv": _csv, "dataset": _dataset, "cesm": _cesm, "options": read_all}
    return routes[file.kind](file, folder)


def _geojson(file: Hostile, folder: Path) -> int:
    _good(folder / "images")
    for number in (0, 1):
        write(file, folder / "images", f"good{number}{file.suffix}")
    classes = "background,tumor"
    _prepare("qupath", folder / "images", folder / "out", "--classes", classes, "--quiet", codes=(0, 2))
    for kind in ("via", "coco"):
        path = folder / "images" / f"good0{file.suffix}"
        words = (folder / "images", path, folder / f"out {kind}", "--classes", classes, "--quiet")
        _prepare(kind, *words, codes=(0, 2))
    return 0


def _xml(file: Hostile, folder: Path) -> int:
    for number in (1, 2):
        name = f"2058690{number}_6c613a14b80a859{number}_MG_L_CC_ANON.dcm"
        write_dicom(folder / "in" / "AllDICOMs" / name, ramp(SHAPE) + number, PatientID="removed")
        write(file, folder / "in" / "AllXML", f"2058690{number}.xml")
    _prepare("inbreast", folder / "in", folder / "out", "--quiet", codes=(0, 2))
    return 0


def _csv(file: Hostile, folder: Path) -> int:
    """Tables of CBIS-DDSM, and of a training that is read again."""
    for number in (1, 2):
        patient = f"Mass-Training_P_0000{number}_LEFT_CC"
        path = folder / "in" / "CBIS-DDSM" / patient / "1.2" / "1.3" / "1-1.dcm"
        write_dicom(path, ramp(SHAPE) * number, PatientID=patient, SeriesDescription="full mammogram images")
        mask = np.zeros(SHAPE, np.uint8)
        mask[5:20, 5:20] = 255
        path = folder / "in" / "CBIS-DDSM" / f"{patient}_1" / "1.2" / "1.3" / "1-1.dcm"
        words = {"SeriesDescription": "ROI mask images", "HighBit": 7}
        write_dicom(path, mask, 8, PatientID=f"{patient}_1", **words)
    write(file, folder / "in", "mass_case_description_train_set.csv")
    _prepare("cbis-ddsm", folder / "in", folder / "out", "--quiet", codes=(0, 2))
    from engines.records.tables import read_epochs
    from transforms.outputs.findings_table import read_rows

    for read in (read_epochs, read_rows):
        _begin(f"read by {read.__name__}")
        try:
            read(folder / "in" / "mass_case_description_train_set.csv")
        except UserError as error:
            print(f"refused {error}", file=sys.stderr)
    return 0


def _dataset(file: Hostile, folder: Path) -> int:
    """dataset.json, and the same bytes as the files of a trained model."""
    data = make_dataset(folder / "data", subjects=4)
    (data / "dataset.json").write_bytes(file.content)
    _prepare("check", data, "--quiet", codes=(0, 1, 2))
    _prepare("crops", data, folder / "crops", "--crop_size", 16, "--per_image", 1, "--quiet", codes=(0, 2))
    _inference(data)
    from engines.records.trained_model import load_settings, weights_file

    models = folder / "out" / "models"
    models.mkdir(parents=True)
    for name in ("model.json", "model.pt"):
        (models / name).write_bytes(file.content)
    for read in (load_settings, weights_file):
        _begin(f"read by {read.__name__}")
        try:
            read(folder / "out")
        except UserError as error:
            print(f"refused {error}", file=sys.stderr)
    return 0


def _cesm(file: Hostile, folder: Path) -> int:
    """Each table of CDD-CESM in turn, beside a good one of the other kind."""
    outlines, rows = "Radiology_hand_drawn_segmentations_v2.csv", "Radiology-manual-annotations.csv"
    head = "Image_name,Findings,Tags,Pathology Classification/ Follow up\n"
    good = head + "".join(f"P{n}_L_DM_MLO,,malignant mass,Malignant\n" for n in (1, 2))
    for number in (1, 2):
        image = folder / "in" / "images" / f"P{number}_L_DM_MLO.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(8) + np.uint8(number)).save(image)
    tables = folder / "in" / "tables"
    tables.mkdir()
    via = "#filename,region_shape_attributes\n" + "".join(f"P{n}_L_DM_MLO.jpg,{{}}\n" for n in (1, 2))
    for hostile, other, content in ((outlines, rows, good), (rows, outlines, via)):
        write(file, tables, hostile)
        (tables / other).write_text(content)
        words = ("--tables", tables, "--quiet", "--workers", 1)
        _prepare("cdd-cesm", folder / "in" / "images", folder / "out", *words, codes=(0, 2))
        shutil.rmtree(folder / "out", ignore_errors=True)
    return 0
