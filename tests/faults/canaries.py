"""More than a thousand invented identifiers, planted wherever a file has room, searched for in all that comes out."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import shutil
import string
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_factory import mammogram_header
from forks import bundle, forked
from kills import words_of
from PIL import Image
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from seeds import CANARY, image_seeds, pixels

ROOT_UID = "1.2.826.0.1.3680043.8.498.9"
TEXTS = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE"}
NOT_THESE = {"SOPClassUID", "TransferSyntaxUID", "MediaStorageSOPClassUID", "SpecificCharacterSet"}
PER_FILE, FILES = 70, 20
FILES_ARE_NAMED = ("file name", "folder name")
"""On the console, to whom has the file; nowhere else."""
_TOKEN = re.compile(rb"QZ[A-Z]{10}")
_DATE = re.compile(rb"(?<![\d.])((?:18|19)\d\d)[-/.]?(\d\d)[-/.]?(\d\d)(?![\d.])")


@dataclass
class Planted:
    """What was planted: each is found nowhere else.

    Attributes:
        tokens: identifier → where it was planted.
    """

    rng: random.Random
    tokens: dict[str, str] = field(default_factory=dict)

    def text(self, where: str) -> str:
        """A name or number of a person, of twelve letters."""
        return self._new(where, lambda: "QZ" + "".join(self.rng.choices(string.ascii_uppercase, k=10)))

    def date(self, where: str) -> str:
        """A day of the nineteenth or early twentieth century."""
        day = lambda: f"{self.rng.randrange(1800, 1930)}{self.rng.randrange(1, 13):02}{self.rng.randrange(1, 29):02}"  # noqa: E731
        return self._new(where, day)

    def uid(self, where: str) -> str:
        """A UID below a root of its own."""
        return self._new(where, lambda: f"{ROOT_UID}.{self.rng.randrange(10**19, 10**20)}")

    def _new(self, where: str, make: Callable[[], str]) -> str:
        while (token := make()) in self.tokens:
            pass
        self.tokens[token] = where
        return token

    def found_in(self, content: bytes) -> set[str]:
        """Those of them that occur, also in UTF-16 and as dates with hyphens."""
        found: set[str] = set()
        for text in (content, content[::2], content[1::2]):
            found |= {one.decode() for one in _TOKEN.findall(text)}
            found |= {b"".join(one).decode() for one in _DATE.findall(text)}
            found |= {one.decode() for one in re.findall(re.escape(ROOT_UID.encode()) + rb"\.\d{20}", text)}
        return found & set(self.tokens)


def write_dicom(path: Path, number: int, planted: Planted) -> None:
    """A mammogram whose header is full of identifiers, and its annotation."""
    header = mammogram_header(
        pixels() + number, ImageLaterality="LR"[number % 2], ViewPosition=("CC", "MLO")[number % 2]
    )
    keywords = sorted(
        entry[4]
        for tag, entry in DicomDictionary.items()
        if tag >> 16 >= 0x0008 and entry[0] in {*TEXTS, "DA", "UI"} and entry[1] == "1" and entry[4] not in NOT_THESE
    )
    chosen = {"PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber", "StudyInstanceUID"}
    chosen |= {"SOPInstanceUID", "SeriesInstanceUID", "InstitutionName", "ImageComments", "SeriesDescription"}
    chosen |= set(planted.rng.sample(keywords, PER_FILE - len(chosen)))
    for keyword in sorted(chosen):
        setattr(header, keyword, _value(keyword, planted))
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = planted.text("PatientID in a sequence"), "TEXT"
    header.OtherPatientIDsSequence = [item]
    header.private_block(0x0013, planted.text("private creator"), create=True).add_new(1, "LO", planted.text("private"))
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta.SourceApplicationEntityTitle = planted.text("file meta")
    header.preamble = (planted.text("preamble").encode() * 11)[:128]
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def _value(keyword: str, planted: Planted) -> str:
    kind = pydicom.datadict.dictionary_VR(keyword)
    if kind == "DA":
        return planted.date(keyword)
    return planted.uid(keyword) if kind == "UI" else planted.text(keyword)


def annotate(path: Path, planted: Planted) -> None:
    """A QuPath annotation with names in its properties."""
    ring = [[5, 10], [25, 10], [25, 30], [5, 30], [5, 10]]
    properties = {"objectType": "annotation", "name": planted.text("GeoJSON name"), "classification": {"name": "tumor"}}
    properties["metadata"] = {"radiologist": planted.text("GeoJSON"), planted.text("GeoJSON key"): "x"}
    one = {"type": "Feature", "id": planted.text("GeoJSON id"), "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.with_suffix(".geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [{**one, "properties": properties}]})
    )


def write_pictures(folder: Path, scratch: Path, planted: Planted) -> None:
    """Every other format, with an identifier wherever it has room; labels beside them."""
    labels = folder.with_name("labels")
    for kind, variants in image_seeds(scratch).items():
        for number, (suffix, content) in enumerate(variants if kind not in ("dicom", "npy", "bmp") else []):
            name = f"{planted.text('file name')}_{kind}{number}"
            folder.mkdir(parents=True, exist_ok=True)
            labels.mkdir(exist_ok=True)
            (folder / f"{name}{suffix}").write_bytes(content.replace(CANARY.encode(), planted.text(kind).encode()))
            Image.fromarray((pixels(8) > 128).astype(np.uint8)).save(labels / f"{name}.png")


def run(folder: Path, store: Path, seed: int) -> dict[str, Any]:
    """Import, train, evaluate, segment and share; then search everything."""
    shutil.rmtree(folder, ignore_errors=True)
    planted = Planted(random.Random(f"canaries {seed}"))
    source = folder / "source"
    for number in range(FILES):
        path = source / planted.text("folder name") / f"{planted.text('file name')}.dcm"
        write_dicom(path, number, planted)
        annotate(path, planted)
    (source / "broken.dcm").write_bytes(next(source.rglob("*.dcm")).read_bytes()[:-700])
    annotate(source / "broken.dcm", planted)
    write_pictures(folder / "pictures" / "images", folder / "scratch", planted)
    plain = folder / "plainly named"  # results are named as images, so that these have no names of persons
    plain.mkdir()
    for number, path in enumerate(sorted(source.rglob("*.dcm"))):
        shutil.copy(path, plain / f"{number}.dcm")
    out = folder / "results"
    out.mkdir()
    shutil.copy(store, out / "mlflow.db")
    faults = [
        f"{name}: exit code {ended.code}: {ended.output[-400:]!r}"
        for name, job in _commands(folder, out)
        if (ended := forked(job, out / "printed" / f"{name}.log", 900)).code
    ]
    leaks: Counter[str] = Counter()
    names: dict[str, str] = {}
    for name, content in _everything(out):
        for token in planted.found_in(content) | planted.found_in(name.encode()):
            if name.startswith("printed/") and planted.tokens[token] in FILES_ARE_NAMED:
                continue
            leaks[token] += 1
            names.setdefault(token, f"{planted.tokens[token]} in {name}")
    faults += [f"leaked: {names[token]}" for token in leaks]
    return {
        "planted": len(planted.tokens),
        "places": len(set(planted.tokens.values())),
        "files searched": sum(1 for _ in _everything(out)),
        "leaks": len(leaks),
        "faults": faults,
    }


def _commands(folder: Path, out: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    from scripts.prepare import main as prepare
    from scripts.share import main as share

    data, trained = out / "data", out / "trained"
    qupath = ["qupath", str(folder / "source"), str(data), "--classes", "background,tumor", "--name", "mine"]
    yield "qupath", lambda: prepare(qupath)
    yield "qupath as JSON", lambda: prepare([*qupath, "--json", "--overwrite"])
    yield "dicom", lambda: prepare(["dicom", str(folder / "source"), str(out / "dicom"), "--name", "mine"])
    pictures = [str(folder / "pictures" / "images"), str(folder / "pictures" / "labels"), str(out / "pictures")]
    yield "folder", lambda: prepare(["folder", *pictures, "--values", "0=background,1=tumor"])
    yield "check", lambda: prepare(["check", str(data), "--sheet", str(out / "sheet.png")])
    options: dict[str, Any] = {"bundle": "unet", "recipe": "paper", "width": 0.02, "image_height": "$None"}
    options |= {"init_weights": "$None", "max_epochs": 1, "crop_size": 24, "batch_size": 4, "micro_batch_size": 4}
    both = {"bundle": "unet", "dataset_dir": data, "output_dir": trained, "tracking_uri": out / "mlflow.db"}
    yield "training", bundle(words_of("train", {**options, **both}))
    yield "evaluation", bundle(words_of("evaluate", both))
    formats = "['nifti','png','overlay','probabilities','geojson','findings']"
    results = {"dataset_dir": folder / "plainly named", "results_dir": out / "segmented", "formats": formats}
    yield "inference", bundle(words_of("inference", {"bundle": "unet", "output_dir": trained, **results}))
    zipped = ["unet", str(out / "unet.zip"), "--output_dir", str(trained), "--data_licence", "none"]
    yield "share", lambda: share(zipped)


def _everything(out: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of all files, and of all files in archives."""
    for path in sorted(out.rglob("*")):
        if path.is_file():
            yield from _unpacked(str(path.relative_to(out)), path.read_bytes())


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, content
    if content[:2] == b"\x1f\x8b":
        yield f"{name} unpacked", gzip.decompress(content)
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.namelist():
                yield from _unpacked(f"{name}: {entry}", archive.read(entry))
