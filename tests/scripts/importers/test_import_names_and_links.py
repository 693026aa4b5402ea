"""Files as they are on real disks: linked folders, links to nowhere, names in any encoding, several annotations."""

from __future__ import annotations

import csv
import gzip
import json
import os
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import ramp, write_dicom
from PIL import Image

from engines.runs.infer import find_images
from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.dicom_folder import import_dicom
from scripts.importers.sources.folder import import_folder
from scripts.importers.sources.inbreast_xml import read_rois
from scripts.importers.sources.qupath import import_qupath
from scripts.importers.writing.writer import Summary
from scripts.prepare import main
from transforms.errors import UserError
from transforms.reading.find_files import files_below

VALUES = {0: "background", 255: "tumor"}
IMAGE = np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)
LABEL = np.kron([[0, 255], [0, 0]], np.ones((32, 24))).astype(np.uint8)


def pictures(folder: Path, names: list[str], pixels: np.ndarray = IMAGE) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        changed = np.roll(pixels, number, axis=1) if pixels is IMAGE else pixels
        Image.fromarray(changed).save(folder / name)
    return folder


QUIET = ImportOptions(progress=False)


def imported(tmp_path: Path, common: ImportOptions = QUIET, **options: Any) -> Summary:
    chosen = {"values": VALUES, **options}
    return import_folder(tmp_path / "images", tmp_path / "labels", tmp_path / "out", common, **chosen)


def square(name: str | None = "Tumor") -> dict[str, Any]:
    ring = [[4, 4], [20, 4], [20, 24], [4, 24], [4, 4]]
    properties = {"objectType": "annotation", **({"classification": {"name": name}} if name else {})}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def collection(*features: dict[str, Any]) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()


def qupath(tmp_path: Path, common: ImportOptions = QUIET, **options: Any) -> Summary:
    chosen = {"classes": ["background", "Tumor"], **options}
    return import_qupath(tmp_path / "images", tmp_path / "out", common, **chosen)


def tumor_pixels(tmp_path: Path) -> list[int]:
    return sorted(int(np.load(path).sum()) for path in (tmp_path / "out" / "labels").glob("*.npy"))


def test_linked_folders_are_entered(tmp_path: Path) -> None:
    for kind, pixels in (("images", IMAGE), ("labels", LABEL)):
        pictures(tmp_path / kind, ["p0/a.png", "p1/a.png"], pixels)
        pictures(tmp_path / "archive" / kind, ["p2/a.png", "p3/a.png"], pixels)
        for name in ("p2", "p3"):
            (tmp_path / kind / name).symlink_to(tmp_path / "archive" / kind / name)
        (tmp_path / kind / "p0" / "circle").symlink_to(tmp_path / kind)
    assert imported(tmp_path).subjects == 4
    assert [item["name"] for item in find_images(tmp_path / "images")] == ["p0/a", "p1/a", "p2/a", "p3/a"]


def test_files_below_a_folder(tmp_path: Path) -> None:
    pictures(tmp_path / "a" / ".git", ["hidden.png"])
    pictures(tmp_path / "a", ["b/1.png", "2.png"])
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "a" / "fetched.png").symlink_to(tmp_path / "a" / ".git" / "hidden.png")
    (tmp_path / "a" / "nowhere.png").symlink_to(tmp_path / "absent.png")
    (tmp_path / "a" / "circle.png").symlink_to("circle.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    found = [path.relative_to(tmp_path / "a").as_posix() for path in files_below(tmp_path / "a")]
    assert found == ["2.png", "b/1.png", "circle.png", "fetched.png", "nowhere.png"]


@pytest.mark.parametrize("target", ["../.git/annex/objects/x.png", "p2.png"])
def test_links_that_lead_nowhere_are_named_and_counted(tmp_path: Path, target: str) -> None:
    names = ["p0.png", "p1.png", "p2.png"]
    pictures(tmp_path / "images", names[:2])
    pictures(tmp_path / "labels", names, LABEL)
    (tmp_path / "images" / "p2.png").symlink_to(target)
    summary = imported(tmp_path)
    assert summary.images == 2
    assert [path.name for path, _ in summary.rejected] == ["p2.png"]
    assert "a broken link; fetch its content" in summary.rejected[0][1]
    with pytest.raises(UserError, match=r"p2\.png: a broken link"):
        imported(tmp_path, replace(QUIET, strict=True, overwrite=True))
    assert [item["name"] for item in find_images(tmp_path / "images")] == ["p0", "p1", "p2"]


def test_a_label_whose_content_was_not_fetched_is_an_error(tmp_path: Path) -> None:
    names = ["p0.png", "p1.png", "p2.png"]
    pictures(tmp_path / "images", names)
    pictures(tmp_path / "labels", names[:2], LABEL)
    (tmp_path / "labels" / "p2.png").symlink_to("absent")
    with pytest.raises(UserError, match=r"labels/p2\.png: a broken link"):
        imported(tmp_path)


def test_annotations_whose_content_was_not_fetched_are_no_background(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["p0.png", "p1.png"])
    for name in ("p0", "p1"):
        (tmp_path / "images" / f"{name}.geojson").symlink_to("absent")
    with pytest.raises(UserError, match=r"p0\.geojson: a broken link"):
        qupath(tmp_path, unannotated="background")
    with pytest.raises(UserError, match=r"p0\.geojson: a broken link"):
        read_rois(tmp_path / "images" / "p0.geojson")


def test_a_dicom_file_whose_content_was_not_fetched_is_left_out(tmp_path: Path) -> None:
    for number in range(2):
        write_dicom(tmp_path / "images" / f"IM{number}", ramp() + number, PatientID=f"p{number}")
    (tmp_path / "images" / "IM2").symlink_to("absent")
    summary = import_dicom(tmp_path / "images", tmp_path / "out", ImportOptions(progress=False))
    assert (summary.images, [path.name for path, _ in summary.rejected]) == (2, ["IM2"])


def zipped(content: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p.geojson", content)


PACKED: dict[str, Callable[[bytes, Path], object]] = {
    "p0.geojson": lambda content, path: path.write_bytes(content),
    "p0.json": lambda content, path: path.write_bytes(b"\xef\xbb\xbf" + content),
    "p0.png.geojson.gz": lambda content, path: path.write_bytes(gzip.compress(content)),
    "p0.json.gz": lambda content, path: path.write_bytes(gzip.compress(content)),
    "p0.geojson.zip": zipped,
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("unannotated", ["error", "background"])
def test_annotations_are_read_packed_or_not(tmp_path: Path, name: str, unannotated: str) -> None:
    pictures(tmp_path / "images", ["p0.png", "p1.png"])
    PACKED[name](collection(square()), tmp_path / "images" / name)
    (tmp_path / "images" / "p1.geojson").write_bytes(collection(square(), square()))
    qupath(tmp_path, unannotated=unannotated)
    assert tumor_pixels(tmp_path) == [320, 320]


def test_background_is_counted_and_other_forms_are_named(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["p0.png", "p1.png", "p2.png"])
    (tmp_path / "images" / "p0.geojson").write_bytes(collection(square()))
    (tmp_path / "images" / "p1.qpdata").write_bytes(b"x")
    (tmp_path / "images" / "p2.geojson").write_bytes(collection())
    with pytest.raises(UserError, match=r"p1\.png: no annotations; .* found p1\.qpdata, which is not supported"):
        qupath(tmp_path)
    notes = "\n".join(qupath(tmp_path, unannotated="background").notes)
    assert "1 images without annotations became background" in notes
    assert "is not read, and may hold its annotations: p1.qpdata" in notes
    assert "1 annotation files hold no area of a class: their images became background" in notes


def test_bombs_of_annotations_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.reading.limits.ANNOTATION_BYTES", 10**6)
    pictures(tmp_path / "images", ["p0.png", "p1.png"])
    (tmp_path / "images" / "p1.geojson").write_bytes(collection(square()))
    (tmp_path / "images" / "p0.geojson.gz").write_bytes(gzip.compress(bytes(10**8)))
    with pytest.raises(UserError, match=r"p0\.geojson\.gz: more than 0 MB of annotations"):
        qupath(tmp_path)
    (tmp_path / "images" / "p0.geojson.gz").write_bytes(gzip.compress(collection(square()))[:40])
    with pytest.raises(UserError, match=r"p0\.geojson\.gz: cannot be unpacked \(EOFError\)"):
        qupath(tmp_path)
    zigzag = square()
    monkeypatch.setattr("scripts.importers.labels.polygon_fill.CROSSINGS", 10**5)
    zigzag["geometry"]["coordinates"] = [[[x % 48, 64 * (x % 2)] for x in range(5000)]]
    (tmp_path / "images" / "p0.geojson.gz").write_bytes(gzip.compress(collection(zigzag)))
    with pytest.raises(UserError, match=r"its outlines cross \d+ rows in all; expected at most 100000"):
        qupath(tmp_path)


def test_two_annotation_files_for_one_image_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["p0.png", "p1.png"])
    for name in ("p0.geojson", "p0.png.geojson", "p1.geojson"):
        (tmp_path / "images" / name).write_bytes(collection(square()))
    with pytest.raises(UserError, match=r"p0\.png\.geojson: p0\.geojson also annotates p0\.png; keep the right one"):
        qupath(tmp_path)


def test_two_endings_of_label_images_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["p0.png", "p1.png"])
    for ending in ("_gt", "_prediction"):
        pictures(tmp_path / "labels", [f"p0{ending}.png", f"p1{ending}.png"], LABEL)
    with pytest.raises(
        UserError, match=r"2 images have label images that end in '_gt' and '_prediction'; specify the right"
    ):
        imported(tmp_path)
    assert imported(tmp_path, suffix="_gt").images == 2


def test_an_export_without_any_class_is_an_error(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["p0.png", "p1.png"])
    for name in ("p0", "p1"):
        (tmp_path / "images" / f"{name}.geojson").write_bytes(collection(square(None)))
    with pytest.raises(UserError, match=r'none of its 1 annotated areas has a class; .* --merge "unclassified=backgr'):
        qupath(tmp_path)
    qupath(tmp_path, merge={"unclassified": "Tumor"})
    assert tumor_pixels(tmp_path) == [320, 320]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_compared_in_one_unicode_form(tmp_path: Path, forms: tuple[str, str]) -> None:
    image, label = (unicodedata.normalize(form, "Müller") for form in forms)
    pictures(tmp_path / "images", [f"{image}/é0.png", f"{image}/é1.png", "other.png"])
    pictures(tmp_path / "labels", [f"{label}/é0.png", f"{label}/é1.png", "other.png"], LABEL)
    assert imported(tmp_path).images == 3
    for path in list((tmp_path / "images").rglob("*.png")):
        folder = tmp_path / "json" / (label if path.parent.name == image else "")
        folder.mkdir(parents=True, exist_ok=True)
        name = unicodedata.normalize("NFD", "Tümör")
        (folder / f"{path.stem}.geojson").write_bytes(collection(square(name)))
    classes = ["background", unicodedata.normalize("NFC", "Tümör")]
    assert qupath(tmp_path, replace(QUIET, overwrite=True), classes=classes, annotations=tmp_path / "json").images == 3


def test_names_that_are_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, pixels in (("images", IMAGE), ("labels", LABEL)):
        pictures(tmp_path / kind, ["p0.png", "p1.png", "p2.png"], pixels)
        for path in list((tmp_path / kind).iterdir()):
            os.rename(path, os.fsencode(path.parent) + b"/M\xfcller_" + os.fsencode(path.name))
    broken = next(iter(sorted((tmp_path / "images").iterdir())))
    broken.write_bytes(b"no picture")
    arguments = ["folder", str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "out"), "--quiet"]
    options = ["--values", "0=background,255=tumor", "--private_map", str(tmp_path / "map.csv")]
    assert main([*arguments, *options, "--json"]) == 0
    rejected = json.loads(capsys.readouterr().out)["rejected"]
    assert rejected[0]["file"].endswith("M\\xfcller_p0.png")
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as file:
        assert [Path(row["source"]).name for row in csv.DictReader(file)] == ["M\\xfcller_p1.png", "M\\xfcller_p2.png"]
    assert main([*arguments, *options[:2], "--overwrite"]) == 0


def test_palettes_that_disagree_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["p0.png", "p1.png", "p2.png"])
    (tmp_path / "labels").mkdir()
    black, red = (0, 0, 0), (255, 0, 0)

    def save(name: str, colors: list[tuple[int, int, int]], index: np.ndarray) -> None:
        label = Image.fromarray(index.astype(np.uint8), "L")
        label.putpalette([part for color in colors for part in color])
        label.save(tmp_path / "labels" / name)

    index = LABEL > 0
    for name in ("p0.png", "p1.png"):
        save(name, [black, red], index)
    save("p2.png", [red, black], ~index)
    values = {"values": {0: "background", 1: "tumor"}}
    with pytest.raises(UserError, match=r"p2\.png: palette index 0 is the color #ff0000, but #000000 in .*p0\.png"):
        imported(tmp_path, **values)
    save("p2.png", [black, red, (9, 9, 9)], index)
    imported(tmp_path, **values)
    assert tumor_pixels(tmp_path) == [32 * 24] * 3


@pytest.mark.parametrize(("bits", "stored", "values"), [
    (1, [0, 1], {0: "background", 255: "tumor"}),
    (1, [0, 1], {0: "background", 1: "tumor"}),
    (4, [0, 1], {0: "background", 1: "tumor", 2: "skin"}),
    (2, [0, 3], {0: "background", 255: "tumor"}),
])  # fmt: skip
def test_labels_of_few_bits_in_either_scale(
    tmp_path: Path, bits: int, stored: list[int], values: dict[int, str]
) -> None:
    import struct
    import zlib

    pictures(tmp_path / "images", ["p0.png", "p1.png"])
    (tmp_path / "labels").mkdir()
    small = np.where(LABEL > 0, stored[1], stored[0]).astype(np.uint8)
    rows = np.packbits(np.unpackbits(small[:, :, None], axis=2)[:, :, 8 - bits :].reshape(64, -1), axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 64, bits, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    for name in ("p0.png", "p1.png"):
        (tmp_path / "labels" / name).write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b""))
    imported(tmp_path, values=values)
    assert tumor_pixels(tmp_path) == [32 * 24] * 2


@pytest.mark.parametrize(("intent", "kept"), [("presentation", 4), ("processing", 4), ("both", 6)])
def test_twins_for_processing(tmp_path: Path, intent: str, kept: int) -> None:
    """Two subjects with both kinds of a view, and one image of either kind alone."""
    for number in range(2):
        for kind in ("PRESENTATION", "PROCESSING"):
            attributes = {"PatientID": f"p{number}", "PresentationIntentType": f"FOR {kind}", "ViewPosition": "CC"}
            path = tmp_path / "images" / f"{number}{kind}.dcm"
            write_dicom(path, ramp() // (2 if kind == "PROCESSING" else 1), ImageLaterality="L", **attributes)
    for kind in ("PRESENTATION", "PROCESSING"):
        attributes = {"PatientID": kind, "PresentationIntentType": f"FOR {kind}", "ViewPosition": "CC"}
        write_dicom(tmp_path / "images" / f"{kind}.dcm", ramp() // 3, ImageLaterality="R", **attributes)
    summary = import_dicom(tmp_path / "images", tmp_path / "out", ImportOptions(intent=intent, progress=False))
    assert summary.images == kept
    notes = "\n".join(summary.notes)
    assert ("2 images FOR PROCESSING were left out" in notes) == (intent == "presentation")
    assert ("2 images FOR PRESENTATION were left out" in notes) == (intent == "processing")
    assert "do not train on both" in notes
    with pytest.raises(UserError, match="--intent is 'any'; expected one of presentation, processing, both"):
        import_dicom(tmp_path / "images", tmp_path / "out2", ImportOptions(intent="any", progress=False))
