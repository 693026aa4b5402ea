"""Hostile files made by hand: bombs, references to other files, content of other programs, code in a pickle."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from dicom_factory import mammogram_header, ramp
from PIL import Image
from programs import TRACE
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n{ } loop\nshowpage\n%%EOF\n"
_BLOCK = 2**20
Made = tuple[str, str, bytes, dict[str, bytes | None]]
"""How it was made, suffix, content, files beside it (None: a named pipe)."""
Attack = Callable[[], Made]


class Executed:
    """Leaves a line in the trace of executed programs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo pickle >> '{os.environ[TRACE]}'",)


def _plain(how: str, suffix: str, content: bytes, beside: dict[str, bytes | None] | None = None) -> Attack:
    return lambda: (how, suffix, content, beside or {})


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(rows: int, columns: int, data: bytes, depth: int = 8, kind: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", columns, rows, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _text_bomb() -> bytes:
    packed = _zeros(2**26, 15)
    head = struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)
    body = _chunk(b"IHDR", head) + _chunk(b"zTXt", b"Comment\0\0" + packed)
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IDAT", zlib.compress(bytes(33 * 32))) + _chunk(b"IEND", b"")


def _zeros(size: int, wrap: int = 31) -> bytes:
    """Zeros, packed as gzip (31) or zlib (15): one packed block again and again, which takes no time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(_BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = packer.compress(bytes(size % _BLOCK)) + packer.flush()
    packed = block * (size // _BLOCK) + rest
    if wrap == 15:
        return b"\x78\xda" + packed + struct.pack(">HH", size % 65521, 1)  # the checksum of zeros
    return b"\x1f\x8b\x08" + bytes(7) + packed + struct.pack("<II", 0, size % 2**32)  # of these too long to be reached


def _dicom(change: Callable[[Any], None]) -> bytes:
    header = mammogram_header(ramp((40, 32)))
    change(header)
    buffer = io.BytesIO()
    header.save_as(buffer)
    return buffer.getvalue()


def _set(**values: Any) -> Callable[[Any], None]:
    def change(header: Any) -> None:
        for keyword, value in values.items():
            setattr(header, keyword, value)

    return change


def _codestream(header: Any) -> None:
    """JPEG 2000 that says 65500 x 65500."""
    siz = struct.pack(">H8IH3B", 0, 65500, 65500, 0, 0, 65500, 65500, 0, 0, 1, 11, 1, 1)
    stream = b"\xff\x4f\xff\x51" + struct.pack(">H", len(siz) + 2) + siz + b"\xff\xd9"
    header.file_meta.TransferSyntaxUID = JPEG2000Lossless
    header.PixelData = encapsulate([stream])
    header["PixelData"].is_undefined_length = True


def _sequences(header: Any) -> None:
    """Two hundred sequences in each other."""
    from pydicom.dataset import Dataset

    inner = Dataset()
    for _ in range(200):
        outer = Dataset()
        outer.DerivationCodeSequence = [inner]
        inner = outer
    header.DerivationCodeSequence = [inner]


def _dicoms() -> Iterator[Attack]:
    for values in (
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": 100_000},
        {"NumberOfFrames": 2},
        {"SamplesPerPixel": 3, "PlanarConfiguration": 1, "PhotometricInterpretation": "RGB"},
        {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
        {"BitsAllocated": 64},
        {"BitsStored": 0},
        {"BitsStored": 16, "HighBit": 3},
        {"RescaleSlope": 0, "RescaleIntercept": 5},
        {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"},
        {"WindowCenter": "1e308", "WindowWidth": "1e-308"},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"ImagerPixelSpacing": ["0", "-1"]},
        {"ImagerPixelSpacing": ["1e300", "1e-300"]},
        {"PatientOrientation": ["\\", "\x1b[31m"]},
        {"ViewPosition": "CC\r\nerror: no"},
        {"PatientName": "=cmd|' /C calc'!A0"},
        {"SpecificCharacterSet": ["ISO 2022 IR 87", "nonsense", "\\"]},
        {"PixelRepresentation": 7},
        {"PhotometricInterpretation": "PALETTE COLOR"},
    ):
        yield lambda values=values: (f"dicom {values}", ".dcm", _dicom(_set(**values)), {})
    for change in (_codestream, _sequences):
        yield lambda change=change: (change.__name__, ".dcm", _dicom(change), {})
    yield _plain("PostScript", ".dcm", POSTSCRIPT)
    yield _plain("PostScript after a preamble", ".dcm", bytes(128) + b"DICM" + POSTSCRIPT)


def _pictures() -> dict[str, list[Attack]]:
    big = zlib.compress(bytes(10_000))
    tiff = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tiff, "TIFF")
    tags = [partial(_tiff_tag, tiff.getvalue(), tag, value) for tag, value in _TIFF_LIES]
    jpeg = io.BytesIO()
    Image.fromarray(np.eye(16, dtype=np.uint8) * 200).save(jpeg, "JPEG", progressive=True)
    scan = jpeg.getvalue()
    start = scan.rindex(b"\xff\xda")
    return {
        "png": [
            _plain("100000 x 100000", ".png", _png(100_000, 100_000, big)),
            _plain("99 megapixels of zeros", ".png", _png(9950, 9950, _zeros(9950 * 9951, 15))),
            _plain("16384 x 16384 of zeros", ".png", _png(16384, 16384, _zeros(2**28, 15))),
            _plain("1 x 20000", ".png", _png(1, 20_000, zlib.compress(bytes(20_001)))),
            _plain("20000 x 1", ".png", _png(20_000, 1, zlib.compress(bytes(40_000)))),
            _plain("text that unpacks to 64 MB", ".png", _text_bomb()),
            _plain("blank", ".png", _png(40, 32, zlib.compress(bytes(33 * 40)))),
            _plain("unknown depth", ".png", _png(40, 32, big, 7)),
            _plain("unknown color", ".png", _png(40, 32, big, 8, 5)),
            _plain("PostScript", ".png", POSTSCRIPT),
            _plain(
                "DOS PostScript", ".png", b"\xc5\xd0\xd3\xc6" + struct.pack("<6IH", 32, 99, 0, 0, 0, 0, 0) + POSTSCRIPT
            ),
            _plain("SVG", ".png", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
            _plain("empty", ".png", b""),
        ],
        "jpeg": [
            _plain("10,000 scans", ".jpg", scan[:start] + scan[start:-2] * 10_000 + scan[-2:]),
            _plain("PostScript", ".jpg", POSTSCRIPT),
            _plain("PDF", ".jpg", b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n"),
        ],
        "tiff": [lambda make=make: ("a tag that lies", ".tif", make(), {}) for make in tags]
        + [
            _plain("PostScript", ".tif", POSTSCRIPT),
            _plain("a circle of directories", ".tif", _circle(tiff.getvalue())),
        ],
        "bmp": [
            _plain("2e9 x 2e9", ".bmp", b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, 2**31 - 1, 2**31 - 1, 1, 8)),
            _plain("PostScript", ".bmp", POSTSCRIPT),
        ],
    }


_TIFF_LIES = (
    *((256, 2**31 - 1), (257, 2**31 - 1), (258, 64), (259, 34712), (259, 7), (262, 5), (273, 2**32 - 1), (277, 9)),
    *((278, 0), (278, 2**32 - 1), (279, 2**32 - 1), (284, 2)),
)


def _tiff_tag(content: bytes, tag: int, value: int) -> bytes:
    data = bytearray(content)
    directory = int.from_bytes(data[4:8], "little")
    for entry in range(directory + 2, directory + 2 + 12 * data[directory], 12):
        if int.from_bytes(data[entry : entry + 2], "little") == tag:
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


def _circle(content: bytes) -> bytes:
    data = bytearray(content)
    directory = int.from_bytes(data[4:8], "little")
    end = directory + 2 + 12 * data[directory]
    data[end : end + 4] = struct.pack("<I", directory)
    return bytes(data)


def _meta(**fields: str) -> bytes:
    known = {"ObjectType": "Image", "NDims": "2", "DimSize": "32 40", "ElementType": "MET_USHORT"}
    lines = {**known, **fields, "ElementDataFile": fields.get("ElementDataFile", "LOCAL")}
    return "".join(f"{name} = {value}\n" for name, value in lines.items()).encode()


def _nrrd(**fields: str) -> bytes:
    known = {"type": "uint16", "dimension": "2", "sizes": "32 40", "endian": "little", "encoding": "raw"}
    lines = [f"{name.replace('_', ' ')}: {value}\n" for name, value in {**known, **fields}.items()]
    return f"NRRD0004\n{''.join(lines)}\n".encode()


OUTSIDE = ("/etc/passwd", "../../../../etc/passwd", "/dev/zero", "LIST", "file%03d.raw 1 9 1", "pipe", "/proc/self/mem")


def _volumes() -> dict[str, list[Attack]]:
    pipe: dict[str, bytes | None] = {"pipe": None}
    dims = " ".join(["2"] * 16)
    return {
        "metaio": [_plain(f"data in {name}", ".mhd", _meta(ElementDataFile=name), pipe) for name in OUTSIDE]
        + [
            _plain("100000 x 100000", ".mha", _meta(DimSize="100000 100000")),
            _plain("16 dimensions", ".mha", _meta(NDims="16", DimSize=dims) + bytes(2**17)),
            _plain("zeros", ".mha", _meta(CompressedData="True", CompressedDataSize="9999") + _zeros(2**31, 15)),
            _plain("PostScript", ".mha", POSTSCRIPT),
        ],
        "nrrd": [_plain(f"data in {name}", ".nhdr", _nrrd(data_file=name), pipe) for name in OUTSIDE]
        + [
            _plain("100000 x 100000", ".nrrd", _nrrd(sizes="100000 100000")),
            _plain("16 dimensions", ".nrrd", _nrrd(dimension="16", sizes=dims) + bytes(2**17)),
            _plain("zeros", ".nrrd", _nrrd(encoding="gzip") + _zeros(2**31)),
            _plain("text", ".nrrd", _nrrd(encoding="ascii") + b"1 " * 10_000_000),
        ],
        "nifti": [
            _plain("5 GB of zeros", ".nii.gz", _zeros(5 * 2**30)),
            _plain("a header, then 5 GB", ".nii.gz", gzip.compress(_nifti_head(32, 40)) + _zeros(5 * 2**30)),
            _plain("30000 x 30000", ".nii", _nifti_head(30_000, 30_000)),
            _plain("negative sizes", ".nii", _nifti_head(-5, 40)),
            _plain("PostScript", ".nii", POSTSCRIPT),
        ],
    }


def _nifti_head(columns: int, rows: int) -> bytes:
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = bytearray(header.binaryblock)
    content[40:48] = struct.pack("<4h", 3, columns, rows, 1)
    return bytes(content) + bytes(4)


def _npys() -> list[Attack]:
    def pickled() -> Made:
        buffer = io.BytesIO()
        np.save(buffer, np.array([Executed()], dtype=object), allow_pickle=True)
        return "an array of objects", ".npy", buffer.getvalue(), {}

    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    lies = "{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 1000000), }"
    code = "{'descr': '|u1', 'fortran_order': False, 'shape': (__import__('os').getpid(),), }"
    return [
        pickled,
        lambda: ("a pickle", ".npy", pickle.dumps(Executed()), {}),
        _plain("100000 x 1000000", ".npy", head + lies.ljust(117).encode() + b"\n"),
        _plain("code in the header", ".npy", head + code.ljust(117).encode() + b"\n"),
        _plain("PostScript", ".npy", POSTSCRIPT),
    ]


def _polygon(points: list[Any], name: Any = "tumor") -> bytes:
    one = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [points]}}
    return json.dumps({**one, "properties": {"classification": {"name": name}}}).encode()


def _texts() -> dict[str, list[Attack]]:
    zigzag = [[x % 30, (x * 7919) % 4000] for x in range(50_000)]
    lol = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a0 "lol">{lol}]><plist><string>&a9;</string></plist>'
    outside = '<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><string>&x;</string></plist>'
    deep = b"[" * 100_000
    return {
        "geojson": [
            _plain("zigzag", ".geojson", _polygon(zigzag)),
            _plain("huge numbers", ".geojson", _polygon([[1e300, 1e300], [-1e300, 1e300], [0, -1e300]])),
            _plain("deep", ".geojson", deep),
            _plain("a name of a megabyte", ".geojson", _polygon([[1, 1], [9, 1], [9, 9]], "x" * 10**6)),
            _plain("markup", ".geojson", _polygon([[1, 1], [9, 1], [9, 9]], "[/red]<script>\r\n=cmd()")),
            _plain("a name that is no text", ".geojson", _polygon([[1, 1], [9, 1], [9, 9]], {"a": [1]})),
            _plain("gzip of zeros", ".geojson.gz", _zeros(2**30)),
            _plain("points that are no numbers", ".geojson", _polygon([["1", None], [True, []], [{}, 1]])),
        ],
        "xml": [
            _plain("a billion laughs", ".xml", bomb.encode()),
            _plain("an entity outside", ".xml", outside.encode()),
            _plain("deep", ".xml", b"<plist>" + b"<array>" * 100_000),
            _plain("binary property list", ".xml", b"bplist00" + bytes(100)),
        ],
        "csv": [
            _plain("header only", ".csv", b"patient_id,left or right breast,image view,abnormality id\n"),
            _plain("a field of 10 MB", ".csv", b'"' + b"x" * 10**7),
            _plain("NUL", ".csv", b"patient_id\0,left or right breast\n\0"),
        ],
        "dataset": [
            _plain("deep", ".json", deep),
            _plain("deep objects", ".json", b'{"a":' * 100_000),
            _plain("a number of a million digits", ".json", b'{"format_version": ' + b"9" * 10**6 + b"}"),
            _plain("an array", ".json", b"[]"),
            _plain("null", ".json", b"null"),
            _plain("pickle", ".json", pickle.dumps([1])),
        ],
    }


ATTACKS: dict[str, list[Attack]] = {"dicom": list(_dicoms()), **_pictures(), **_volumes(), "npy": _npys(), **_texts()}
