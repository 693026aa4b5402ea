"""Valid files of every format that is read, small, each with a planted identifier where the format has room for one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import plistlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from dicom_factory import compress_dicom, mammogram_header, write_bare_dicom, write_dicom
from PIL import Image, PngImagePlugin
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from volume_factory import write_volume

CANARY = "ZQ0000000000"
"""Planted; a generated file has its own number in place of the zeros."""
SHAPE = (40, 32)
SYNTAXES = {
    "rle": "1.2.840.10008.1.2.5",
    "jpeg-lossless": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "jpeg-extended": "1.2.840.10008.1.2.4.51",
    "jpeg-baseline": "1.2.840.10008.1.2.4.50",
}
Seeds = dict[str, list[tuple[str, bytes]]]
"""Kind → (suffix, content) of its variants."""


def pixels(bits: int = 12) -> np.ndarray[Any, Any]:
    """A ramp with noise; no blank image."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    values = (rows * 61 + columns * 17 + np.random.default_rng(bits).integers(0, 50, SHAPE)) % 2**bits
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def image_seeds(folder: Path) -> Seeds:
    """Of the formats of images."""
    return {
        "dicom": [(".dcm", content) for content in _dicom(folder)],
        "png": [(".png", content) for content in _png()],
        "jpeg": [(".jpg", content) for content in _jpeg()],
        "tiff": [(".tif", content) for content in _tiff()],
        "bmp": [(".bmp", _saved(Image.fromarray(pixels(8)), "BMP"))],
        "nifti": [(".nii", _nifti()), (".nii.gz", gzip.compress(_nifti()))],
        "nrrd": [(".nrrd", _nrrd(folder)), (".nrrd", _nrrd_packed())],
        "metaio": [(".mha", _meta(folder)), (".mha", _meta_packed())],
        "npy": [(".npy", _npy(pixels())), (".npy", _npy(pixels(8)))],
    }


def _dicom(folder: Path) -> list[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "a.dcm"
    planted = {"PatientName": f"{CANARY}^N", "PatientID": CANARY, "AccessionNumber": CANARY, "ImageComments": CANARY}
    planted |= {"StudyDescription": CANARY, "InstitutionName": CANARY, "ImageLaterality": "L", "ViewPosition": "CC"}
    planted |= {"ImagerPixelSpacing": [0.1, 0.1], "WindowCenter": 2000, "WindowWidth": 4000}
    found = [write_dicom(path, pixels(), **planted).read_bytes()]
    found.append(write_bare_dicom(path, pixels(), **planted).read_bytes())
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        header = mammogram_header(pixels(), **planted)
        header.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        header.save_as(buffer, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        found.append(buffer.getvalue())
    found += [_compressed(folder, name, uid, planted) for name, uid in SYNTAXES.items()]
    return found


def _compressed(folder: Path, name: str, syntax: str, planted: dict[str, Any]) -> bytes:
    bits = 8 if name == "jpeg-baseline" else 12
    plain = write_dicom(folder / "plain.dcm", pixels(bits), bits, **planted)
    return compress_dicom(plain, folder / "packed.dcm", syntax).read_bytes()


def _saved(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _png() -> list[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", CANARY)
    text.add_text("Author", CANARY, zip=True)
    palette = Image.fromarray(pixels(8)).convert("P")
    images = [Image.fromarray(pixels(8)), Image.fromarray(pixels(16)), palette, Image.fromarray(pixels(8) > 99)]
    return [_saved(image, "PNG", pnginfo=text) for image in images]


def _jpeg() -> list[bytes]:
    gray = Image.fromarray(pixels(8))
    exif = Image.Exif()
    exif[0x010E] = CANARY
    options: list[dict[str, Any]] = [{}, {"progressive": True}, {"exif": exif}]
    return [_saved(gray, "JPEG", comment=CANARY.encode(), **one) for one in options] + [
        _saved(gray.convert("RGB"), "JPEG", comment=CANARY.encode())
    ]


def _tiff() -> list[bytes]:
    gray, deep = Image.fromarray(pixels(8)), Image.fromarray(pixels(16))
    made = [_saved(gray, "TIFF", description=CANARY), _saved(deep, "TIFF", description=CANARY)]
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        made.append(_saved(deep if packing == "tiff_lzw" else gray, "TIFF", compression=packing, description=CANARY))
    return made


def _nifti() -> bytes:
    image = nibabel.Nifti1Image(pixels().T[:, ::-1, None].astype(np.int16), np.diag([0.1, 0.1, 1, 1]))
    image.header["descrip"], image.header["aux_file"] = CANARY.encode(), CANARY.encode()
    return bytes(image.to_bytes())


def _nrrd(folder: Path) -> bytes:
    content = write_volume(folder / "a.nrrd", pixels()).read_bytes()
    return content.replace(b"encoding: raw", f"# {CANARY}\nPatient:={CANARY}\nencoding: raw".encode())


def _nrrd_packed() -> bytes:
    head = f"NRRD0004\n# {CANARY}\ntype: uint16\ndimension: 2\nsizes: {SHAPE[1]} {SHAPE[0]}\nendian: little\n"
    return f"{head}encoding: gzip\n\n".encode() + gzip.compress(pixels().tobytes())


def _meta(folder: Path) -> bytes:
    content = write_volume(folder / "a.mha", pixels()).read_bytes()
    return content.replace(b"NDims", f"Comment = {CANARY}\nNDims".encode(), 1)


def _meta_packed() -> bytes:
    packed = zlib.compress(pixels().tobytes())
    head = f"ObjectType = Image\nComment = {CANARY}\nNDims = 2\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    head += f"CompressedData = True\nCompressedDataSize = {len(packed)}\nDimSize = {SHAPE[1]} {SHAPE[0]}\n"
    return f"{head}ElementType = MET_USHORT\nElementDataFile = LOCAL\n".encode() + packed


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def text_seeds(dataset: Path) -> Seeds:
    """Of the formats of annotations and tables."""
    return {
        "geojson": [(".geojson", json.dumps(content).encode()) for content in _geojson()],
        "xml": [(".xml", _inbreast())],
        "csv": [(".csv", _table())],
        "dataset": [(".json", (dataset / "dataset.json").read_bytes())],
        "cesm": [(".csv", _outlines())],
        "options": [(".csv", _folds()), (".json", json.dumps({"members": ["a", f"unet={CANARY}"]}).encode())],
    }


def _geojson() -> list[Any]:
    ring = [[5, 5], [25, 5], [25, 30], [5, 30], [5, 5]]
    properties = {"objectType": "annotation", "name": CANARY, "classification": {"name": "tumor", "color": [1, 2, 3]}}
    properties["metadata"] = {"radiologist": CANARY}
    one = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}
    many = {**one, "geometry": {"type": "MultiPolygon", "coordinates": [[ring], [[[1, 1], [4, 1], [4, 4], [1, 1]]]]}}
    return [{"type": "FeatureCollection", "features": [one, many]}, [one]]


def _inbreast() -> bytes:
    points = ["(4.000000, 10.000000)", "(9.000000, 10.000000)", "(9.000000, 30.000000)", "(4.000000, 30.000000)"]
    roi = {"Area": 0.5, "Center": "(1.0, 2.0, 0.0)", "Name": "Mass", "NumberOfPoints": 4, "Point_px": points}
    roi |= {"Point_mm": ["(0, 0, 0)"] * 4, "Type": 15, "IndexInImage": 0, "Comments": CANARY, "Total": 9.0}
    return plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": 1, "ROIs": [roi]}], "Patient": CANARY})


def _table() -> bytes:
    header = ["patient_id", "breast_density", "left or right breast", "image view", "abnormality id"]
    header += ["abnormality type", "mass shape", "assessment", "pathology", "subtlety", "image file path"]
    text = io.StringIO()
    rows = [[f"P_0000{n}", "3", "LEFT", "CC", "1", "mass", "OVAL", "4", CANARY, "4", f"{CANARY}\n"] for n in (1, 2)]
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode("utf-8-sig")


def _outlines() -> bytes:
    shapes = [{"name": "polygon", "all_points_x": [4, 25, 25], "all_points_y": [4, 4, 30]}]
    shapes.append({"name": "ellipse", "cx": 15, "cy": 20, "rx": 6, "ry": 8, "theta": 0.5})
    text = io.StringIO()
    head = ["#filename", "file_size", "region_count", "region_id", "region_shape_attributes", "region_attributes"]
    rows = [[f"P{n}_L_DM_MLO.jpg", "999", "2", n, json.dumps(shapes[n - 1]), CANARY] for n in (1, 2)]
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue().encode()


def _folds() -> bytes:
    rows = "".join(f"s{number:03d},{1 + number % 2},A,{CANARY}\n" for number in range(6))
    return f"subject,fold,density,name\n{rows}".encode()


ReadSeed = Callable[[Path], Seeds]
