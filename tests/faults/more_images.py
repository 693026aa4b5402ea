"""More hostile images made by hand: formats in disguise, headers that lie about parts, recursion, packed giants."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from dicom_factory import mammogram_header, ramp
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGLSLossless, RLELossless

Made = tuple[str, str, bytes, dict[str, bytes | None]]
Attack = Callable[[], Made]
GRAY = (np.mgrid[:40, :32].sum(axis=0) * 3).astype(np.uint8)
DISGUISES = ("WEBP", "GIF", "PPM", "TGA", "PCX", "ICO", "PDF", "EPS", "SGI", "JPEG2000", "DDS", "XBM")
SIGNATURES = {
    **{"PSD": b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(64)},
    **{"FLI": struct.pack("<IHHHHHH", 200, 0xAF11, 4000, 64, 64, 8, 3) + bytes(200)},
    **{"WMF": b"\xd7\xcd\xc6\x9a" + bytes(100), "EMF": struct.pack("<II", 1, 108) + bytes(32) + b" EMF" + bytes(80)},
    **{"FITS": b"SIMPLE  =                    T" + b" " * 2850, "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(500)},
    **{"GRIB": b"GRIB" + bytes(100), "MPEG": b"\x00\x00\x01\xb3" + bytes(100), "ELF": b"\x7fELF" + bytes(200)},
    **{"script": b"#!/bin/sh\ntouch executed\n", "PCL": b"\x1b%-12345X@PJL ENTER LANGUAGE=POSTSCRIPT\r\n%!PS\n"},
    **{"AI": b"%PDF-1.5\n%\xe2\xe3\n1 0 obj\n<</OpenAction 2 0 R>>\nendobj\n", "EPT": b"%!PS-AdobeFont-1.0: x\n"},
    **{"MIC": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "IM": b"Image type: Greyscale\r\nName: x\r\n\x1a"},
    **{"Photo CD": bytes(2048) + b"PCD_" + bytes(4000), "GBR": struct.pack(">IIIII", 28, 2, 2**31, 2**31, 1)},
}


def plain(how: str, suffix: str, content: bytes, beside: dict[str, bytes | None] | None = None) -> Attack:
    return lambda: (how, suffix, content, beside or {})


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _saved(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _disguised() -> Iterator[tuple[str, bytes]]:
    image = Image.fromarray(GRAY)
    for kind in DISGUISES:
        try:
            yield kind, _saved(image.convert("1") if kind == "XBM" else image, kind)
        except (KeyError, OSError):  # this Pillow does not write it
            continue
    yield from SIGNATURES.items()


def _pngs() -> list[Attack]:
    gray = _saved(Image.fromarray(GRAY), "PNG")
    start, end = gray[:33], gray[33:]
    icc = _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**27), 9))
    text = b"".join(_chunk(b"iTXt", b"k\0\x01\0\0\0" + zlib.compress(bytes(2**20))) for _ in range(2000))
    frames = _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    frames += _chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 0, 0, 0, 0, 0, 0))
    exif = _chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\x00\x99\0\0\0\0\0\x08")
    info = PngImagePlugin.PngInfo()
    info.add_text("XML:com.adobe.xmp", "<x:xmpmeta " + 'tiff:Orientation="99999999999999999999"' + "/>")
    return [
        plain("profile that unpacks to 128 MB", ".png", start + icc + end),
        plain("2000 texts of 1 MB", ".png", start + text + end),
        plain("2^31 frames", ".png", start + frames + end),
        plain("unknown orientation", ".png", start + exif + end),
        plain("orientation of XMP", ".png", _saved(Image.fromarray(GRAY), "PNG", pnginfo=info)),
        plain("a million empty chunks", ".png", start + _chunk(b"zzZz", b"") * 1_000_000 + end),
        plain("a chunk of 2 GB", ".png", start + struct.pack(">I", 2**31 - 1) + b"zzZz" + end),
        *(plain(f"{kind} in disguise", ".png", content) for kind, content in _disguised()),
    ]


def _jpegs() -> list[Attack]:
    gray = _saved(Image.fromarray(GRAY), "JPEG")
    soi, rest = gray[:2], gray[2:]
    frame = gray.index(b"\xff\xc0")
    sized = gray[: frame + 5] + struct.pack(">HH", 65500, 65500) + gray[frame + 9 :]
    flat = gray[: frame + 5] + struct.pack(">H", 0) + gray[frame + 7 :]
    markers = {"arithmetic": 0xC9, "lossless": 0xC3, "hierarchical": 0xC5, "of 12 bits": None}
    other = {name: gray[: frame + 1] + bytes([m]) + gray[frame + 2 :] for name, m in markers.items() if m}
    other["of 12 bits"] = gray[: frame + 4] + b"\x0c" + gray[frame + 5 :]
    app = b"\xff\xe1" + struct.pack(">H", 65535) + b"Exif\0\0II*\0\x08\0\0\0" + bytes(65535 - 16)
    loop = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    cycle = b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop
    mpf = b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\xff\xff\xff\x7f\0\0\0\0"
    return [
        plain("65500 x 65500", ".jpg", sized),
        plain("no rows (DNL)", ".jpg", flat),
        *(plain(f"JPEG, {name}", ".jpg", content) for name, content in other.items()),
        plain("3000 segments of Exif", ".jpg", soi + app * 3000 + rest),
        plain("Exif in a circle", ".jpg", soi + cycle + rest),
        plain("2^31 pictures", ".jpg", soi + b"\xff\xe2" + struct.pack(">H", len(mpf) + 2) + mpf + rest),
        plain("a million fill bytes", ".jpg", soi + b"\xff" * 1_000_000 + rest[1:]),
        plain("four components", ".jpg", _saved(Image.fromarray(GRAY).convert("CMYK"), "JPEG")),
    ]


def _ifd(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def _tiff_of(**changes: int) -> bytes:
    """One uncompressed strip of 64 x 64 bytes, or what the changes say of it."""
    tags = {"t256": 64, "t257": 64, "t258": 8, "t259": 1, "t262": 1, "t273": 8, "t277": 1, "t278": 64, "t279": 4096}
    entries = [(int(name[1:]), 4, 1, value) for name, value in {**tags, **changes}.items()]
    return b"II*\0" + struct.pack("<I", 8 + 4096) + bytes(4096) + _ifd(entries)


def _tiffs() -> list[Attack]:
    pages = [Image.fromarray(GRAY[:2, :2])] * 3000
    tiles = {"t322": 2**31 - 16, "t323": 2**31 - 16, "t324": 8, "t325": 4096}
    strips = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (278, 4, 1, 1)]
    counted = b"II*\0\x08\0\0\0" + _ifd([*strips, (273, 4, 2**28, 8), (279, 4, 2**28, 8)])
    chain, step = bytearray(b"II*\0\x08\0\0\0"), 6
    for number in range(100_000):
        chain += struct.pack("<HI", 0, 8 + step * (number + 1))
    big = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + struct.pack("<Q", 2**40)
    many = b"II*\0\x08\0\0\0" + struct.pack("<H", 65535) + bytes(12 * 65535)
    return [
        plain("tiles of 2^31", ".tif", _tiff_of(**tiles)),
        plain("tiles of 0", ".tif", _tiff_of(t322=0, t323=0, t324=8, t325=4096)),
        plain("3000 pages", ".tif", _saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])),
        plain("100,000 empty directories", ".tif", bytes(chain)),
        plain("2^28 strips", ".tif", counted),
        plain("BigTIFF with 2^40 entries", ".tif", big),
        plain("65535 entries", ".tif", many),
        plain("itself as a directory below", ".tif", _tiff_of(t330=8 + 4096)),
        *(
            plain(f"compression {code}", ".tif", _tiff_of(t259=code))
            for code in (2, 3, 4, 6, 34887, 34925, 50000, 50001)
        ),
        *(plain(f"{bits} bits", ".tif", _tiff_of(t258=bits)) for bits in (0, 3, 12, 24, 32, 64)),
        plain("predictor 3", ".tif", _tiff_of(t317=3, t259=8)),
        plain("floats", ".tif", _saved(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF")),
        *(plain(f"{kind} in disguise", ".tif", content) for kind, content in SIGNATURES.items()),
    ]


def _bmps() -> list[Attack]:
    def bmp(columns: int, rows: int, bits: int, packing: int, data: bytes, colors: int = 0, head: int = 40) -> bytes:
        info = struct.pack("<IiiHHIIiiII", head, columns, rows, 1, bits, packing, len(data), 0, 0, colors, 0)
        return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + info + data

    return [
        plain("run lengths", ".bmp", bmp(9000, 9000, 8, 1, b"\x00\x02\xff\xff" * 10, 0)),
        plain("2^31 colors", ".bmp", bmp(32, 40, 8, 0, bytes(2000), 2**31 - 1)),
        plain("negative rows", ".bmp", bmp(32, -(2**31), 8, 0, bytes(2000))),
        plain("JPEG inside", ".bmp", bmp(32, 40, 0, 4, _saved(Image.fromarray(GRAY), "JPEG"))),
        plain("head of 2^31", ".bmp", bmp(32, 40, 8, 0, bytes(2000), 0, 2**31 - 1)),
        plain("17 bits", ".bmp", bmp(32, 40, 17, 0, bytes(2000))),
    ]


def _header(change: Callable[[Any], None], **values: Any) -> bytes:
    header = mammogram_header(ramp((40, 32)), **values)
    change(header)
    buffer = io.BytesIO()
    header.save_as(buffer)
    return buffer.getvalue()


def _raw(elements: bytes) -> bytes:
    """A DICOM file with these bytes in place of its last element, the pixels."""
    content = _header(lambda _: None)
    return content[: content.index(b"\xe0\x7f\x10\x00")] + elements + content[content.index(b"\xe0\x7f\x10\x00") :]


def _frames(syntax: str, frames: list[bytes]) -> Callable[[Any], None]:
    def change(header: Any) -> None:
        header.file_meta.TransferSyntaxUID = syntax
        header.PixelData = encapsulate(frames)
        header["PixelData"].is_undefined_length = True

    return change


def _luts(header: Any) -> None:
    item = Dataset()
    item.add_new(0x00283002, "US", [0, 0, 16])
    item.add_new(0x00283006, "OW", bytes(2**17))
    header.VOILUTSequence = [item] * 100


def _overlay(header: Any) -> None:
    header.add_new(0x60000010, "US", 65535)
    header.add_new(0x60000011, "US", 65535)
    header.add_new(0x60000100, "US", 1)
    header.add_new(0x60000102, "US", 99)
    header.add_new(0x60003000, "OW", bytes(8))


def _dicoms() -> list[Attack]:
    deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    rle = struct.pack("<16I", 1, 64, *([0] * 14)) + b"\x81\x00" * 5_000_000
    ls = (
        b"\xff\xd8\xff\xf7\x00\x0b\x08"
        + struct.pack(">HH", 65500, 65500)
        + b"\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\0\0\0\0"
    )
    baseline = _saved(Image.fromarray(GRAY), "JPEG")
    words = {"(0019,0010)": b"\x19\x00\x10\x00", "(0029,1010)": b"\x29\x00\x10\x10"}
    return [
        plain("5000 sequences in each other", ".dcm", _raw(deep * 5000)),
        plain("a sequence of 2 GB", ".dcm", _raw(b"\x08\x00\x40\x11SQ\0\0\xfe\xff\xff\x7f")),
        plain("300,000 private elements", ".dcm", _raw(b"".join(
            struct.pack("<HH", 0x29, 0x1000 + n % 200) + b"LO\x02\x00ab" for n in range(300_000)))),
        *(plain(f"unknown type at {name}", ".dcm", _raw(t + b"ZZ\0\0\xff\xff\xff\xff")) for name, t in words.items()),
        plain("an end without a beginning", ".dcm", _raw(b"\xfe\xff\xdd\xe0\0\0\0\0" * 1000)),
        plain("tables", ".dcm", _header(_luts)),
        plain("overlay", ".dcm", _header(_overlay)),
        plain("run lengths of 640 MB", ".dcm", _header(_frames(RLELossless, [rle]))),
        plain("JPEG-LS of 65500 x 65500", ".dcm", _header(_frames(JPEGLSLossless, [ls]))),
        plain("JPEG without bits", ".dcm", _header(_frames(JPEGBaseline8Bit, [b"\xff\xd8\xff\xd9"]))),
        plain("200,000 fragments", ".dcm", _header(_frames(JPEGBaseline8Bit, [b"\xff\xd8"] * 200_000))),
        plain("another JPEG than the header", ".dcm", _header(_frames(JPEGBaseline8Bit, [baseline]), Rows=39)),
        plain("two rows", ".dcm", _header(lambda h: h.add_new(0x00280010, "US", [40, 40]))),
        plain("rows as text", ".dcm", _header(lambda h: h.add_new(0x00280010, "LO", "40"))),
        plain("no pixels", ".dcm", _header(lambda h: h.__delattr__("PixelData"))),
        plain("float pixels", ".dcm", _header(lambda h: h.add_new(0x7FE00008, "OF", bytes(4 * 40 * 32)))),
        plain("escape sequences", ".dcm", _header(lambda h: setattr(h, "SeriesDescription", "\x1b[2J\x1b]0;x\x07"))),
        plain("laterality of a megabyte", ".dcm", _header(lambda h: h.add_new(0x00200062, "UT", "L" * 10**6))),
    ]  # fmt: skip


def _volumes() -> dict[str, list[Attack]]:
    import nibabel

    def nifti(size: int = 352, **fields: Any) -> bytes:
        header = nibabel.Nifti1Header()
        header.set_data_dtype(fields.pop("dtype", np.int16))
        header.set_data_shape((32, 40, 1))
        header["vox_offset"], header["magic"] = size, b"n+1"
        for name, value in fields.items():
            header[name] = value
        return bytes(header.binaryblock) + bytes(4) + bytes(2 * 40 * 32)

    extended = bytearray(nifti(10_000))
    extended[348:356] = b"\x01\0\0\0" + struct.pack("<i", 0)
    huge = bytearray(nifti())
    huge[40:56] = struct.pack("<8h", 7, 32, 40, 1, 32767, 32767, 32767, 32767)
    meta = b"ObjectType = Image\nNDims = 2\nDimSize = 32 40\nElementType = MET_USHORT\n"
    nrrd = b"NRRD0004\ntype: uint16\ndimension: 2\nsizes: 32 40\nendian: little\n"
    data = bytes(2 * 32 * 40)
    raw = b"\nencoding: raw\n\n" + data
    return {
        "nifti": [
            plain("an extension of 0 bytes", ".nii", bytes(extended)),
            plain("seven dimensions", ".nii", bytes(huge)),
            plain("complex", ".nii", nifti(dtype=np.complex64)),
            plain("NaN scale", ".nii", nifti(scl_slope=np.nan, scl_inter=np.inf)),
            plain("huge scale", ".nii", nifti(scl_slope=1e38, scl_inter=1e38)),
            plain("affine of zeros", ".nii", nifti(sform_code=1)),
            plain("quaternion beyond 1", ".nii", nifti(qform_code=1, quatern_b=5.0, quatern_c=5.0)),
            plain("pixels of 0 mm", ".nii", nifti(pixdim=[0, 0, -1, np.nan, 0, 0, 0, 0])),
            plain("gzip in gzip", ".nii.gz", gzip.compress(gzip.compress(nifti()))),
            plain("zip", ".nii.gz", zipped({"a.nii": nifti()})),
        ],
        "metaio": [
            plain("100,000 lines", ".mha", b"Comment = x\n" * 100_000 + meta + b"ElementDataFile = LOCAL\n" + data),
            plain("a header offset", ".mha", meta + b"HeaderSize = -1\nElementDataFile = LOCAL\n" + data),
            plain("channels", ".mha", meta + b"ElementNumberOfChannels = 100000\nElementDataFile = LOCAL\n" + data),
            plain("spacing", ".mha", meta + b"ElementSpacing = nan -1\nElementDataFile = LOCAL\n" + data),
            plain("itself", ".mhd", meta + b"ElementDataFile = .\n"),
            plain("a command", ".mhd", meta + b"ElementDataFile = |touch executed\n"),
            plain("an address", ".mhd", meta + b"ElementDataFile = http://127.0.0.1:9/x\n"),
        ],
        "nrrd": [
            plain("skip", ".nrrd", nrrd + b"byte skip: 99999999999\nencoding: raw\n\n" + data),
            plain("skip lines", ".nrrd", nrrd + b"line skip: 2147483647\nencoding: raw\n\n" + data),
            plain("bzip2", ".nrrd", nrrd + b"encoding: bzip2\n\n" + data),
            plain("hexadecimal", ".nrrd", nrrd + b"encoding: hex\n\n" + b"0g" * 100),
            plain("blocks", ".nrrd", nrrd.replace(b"uint16", b"block") + b"block size: 2147483647" + raw),
            plain("keys", ".nrrd", nrrd + b"".join(b"k%d:=v\n" % n for n in range(50_000)) + raw),
        ],
    }  # fmt: skip


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _npys() -> list[Attack]:
    def npy(text: str, version: bytes = b"\x01\x00", data: bytes = bytes(2000)) -> bytes:
        size = struct.pack("<H" if version[0] == 1 else "<I", len(text) + 1)
        return b"\x93NUMPY" + version + size + text.encode() + b"\n" + data

    shape = "{'descr': %s, 'fortran_order': False, 'shape': %s, }"
    fields = repr([(f"f{n}", "<u2") for n in range(5_000)])
    return [
        plain("header of a megabyte", ".npy", npy("{'descr': '|u1', " + " " * 10**6 + "}", b"\x03\x00")),
        plain("header deep", ".npy", npy("(" * 5000, b"\x02\x00")),
        plain("negative shape", ".npy", npy(shape % ("'|u1'", "(-1, 32)"))),
        plain("overflowing shape", ".npy", npy(shape % ("'<u2'", f"({2**62}, 4)"))),
        plain("empty in one direction", ".npy", npy(shape % ("'<u2'", "(0, 1000000000)"))),
        plain("5000 fields", ".npy", npy(shape % (fields, "(4, 4)"), b"\x02\x00")),
        plain("texts", ".npy", npy(shape % ("'|S1000000000'", "(40, 32)"))),
        plain("dates", ".npy", npy(shape % ("'<M8[ns]'", "(5, 4)"))),
        plain("archive of arrays", ".npy", zipped({"arr_0.npy": npy(shape % ("'|u1'", "(40, 32)"))})),
        plain("shape of a text", ".npy", npy(shape % ("'|u1'", "'40'"))),
    ]  # fmt: skip


MORE_IMAGES: dict[str, list[Attack]] = {
    **{"dicom": _dicoms(), "png": _pngs(), "jpeg": _jpegs(), "tiff": _tiffs(), "bmp": _bmps(), **_volumes()},
    **{"npy": _npys()},
}
