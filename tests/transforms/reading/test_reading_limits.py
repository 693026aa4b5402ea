"""Small files that claim to be large are refused by their headers, and by their decompressed size."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_factory import mammogram_header, ramp, write_dicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from transforms.errors import UserError
from transforms.reading import limits
from transforms.reading.codestreams import jpeg2000_size
from transforms.reading.limits import Limits, limited
from transforms.reading.load_mammogram import LoadMammogramd
from transforms.reading.mammogram import probe_mammogram, read_mammogram
from transforms.working_resolution import working_size


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, rows: int, columns: int) -> Path:
    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    return saved(path, b"\x89PNG\r\n\x1a\n" + body)


def jpeg(path: Path, rows: int, columns: int) -> Path:
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", rows, columns)
    return saved(path, content)


def tiff(path: Path, tag: int, value: int) -> Path:
    """A TIFF file one of whose tags was changed by hand."""
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    directory = int.from_bytes(content[4:8], "little")
    for entry in range(directory + 2, directory + 2 + 12 * content[directory], 12):
        if int.from_bytes(content[entry : entry + 2], "little") == tag:
            content[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, value)
    return saved(path, content)


def bmp(path: Path, rows: int, columns: int) -> Path:
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", columns, rows)
    return saved(path, content)


def npy(path: Path, rows: int, columns: int) -> Path:
    """A sparse file: nothing but its header takes space."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (rows, columns)})
        file.truncate(file.tell() + rows * columns)
    return path


def nifti(path: Path, rows: int, columns: int, packed: bool, offset: int = 352) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header["dim"][:4] = 3, 10, 10, 1
    header["vox_offset"], header["magic"] = offset, b"n+1"
    content = bytearray(header.binaryblock)
    content[40:48] = struct.pack("<4h", 3, columns, rows, 1)
    content = content + bytes(4)
    return saved(path, gzip.compress(content + bytes(10**6)) if packed else content + bytes(200))


def mha(path: Path, size: str, **fields: str) -> Path:
    known = {"ObjectType": "Image", "NDims": str(len(size.split())), "DimSize": size, "ElementType": "MET_UCHAR"}
    lines = {**known, **fields, "ElementDataFile": fields.get("ElementDataFile", "LOCAL")}
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    return saved(path, text.encode() + bytes(100))


def nrrd(path: Path, sizes: str, **fields: str) -> Path:
    known = {"type": "uint8", "dimension": str(len(sizes.split())), "sizes": sizes, "encoding": "gzip"}
    text = "".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in {**known, **fields}.items())
    return saved(path, f"NRRD0004\n{text}\n".encode() + gzip.compress(bytes(100)))


def deflated(path: Path, size: int) -> Path:
    header = mammogram_header(ramp((8, 8)))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.save_as(path)
    content = path.read_bytes()
    start = content.index(b"\x02\x00\x10\x00")
    length = int.from_bytes(content[start + 6 : start + 8], "little")
    rest = content[start + 8 + length :]
    after = len(content) - len(rest)
    while after < len(content) and content[after : after + 2] == b"\x02\x00":  # the rest of the meta information
        after += 8 + int.from_bytes(content[after + 6 : after + 8], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = zlib.decompressobj(-15).decompress(content[after:])
    packed = packer.compress(data) + b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20))
    return saved(path, content[:after] + packed + packer.flush())


def codestream(rows: int, columns: int, tile: int) -> bytes:
    siz = struct.pack(">H8IH3B", 0, columns, rows, 0, 0, tile, tile, 0, 0, 1, 11, 1, 1)
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(siz) + 2) + siz + bytes(50) + b"\xff\xd9"


def j2k(path: Path, rows: int, columns: int, tile: int) -> Path:
    header = mammogram_header(ramp((8, 8)))
    header.file_meta.TransferSyntaxUID = JPEG2000Lossless
    header.PixelData = encapsulate([codestream(rows, columns, tile)])
    header["PixelData"].is_undefined_length = True
    header.save_as(path)
    return path


GIANTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "png": (
        lambda p: png(p / "a.png", 16384, 16384),
        "268 megapixels; expected at most 100; .* raise --max_megapixels",
    ),
    "png beyond pillow's limit": (lambda p: png(p / "a.png", 60000, 60000), "3600 megapixels"),
    "jpeg": (lambda p: jpeg(p / "a.jpg", 65500, 65500), "4290 megapixels"),
    "tiff": (lambda p: tiff(p / "a.tif", 257, 4_000_000), "256 megapixels"),
    "bmp": (lambda p: bmp(p / "a.bmp", 30000, 30000), "900 megapixels"),
    "npy": (lambda p: npy(p / "a.npy", 20000, 20000), "400 megapixels"),
    "nifti": (lambda p: nifti(p / "a.nii", 30000, 30000, False), "900 megapixels"),
    "nifti.gz": (lambda p: nifti(p / "a.nii.gz", 30000, 30000, True), "900 megapixels"),
    "nifti offset": (lambda p: nifti(p / "a.nii.gz", 30, 30, True, 2**30), "pixels begin at byte 1073741824"),
    "mha": (lambda p: mha(p / "a.mha", "100000 100000", CompressedData="True"), "10000 megapixels"),
    "mha channels": (lambda p: mha(p / "a.mha", "9000 9000", ElementNumberOfChannels="99"), "raise --max_memory_gb"),
    "nrrd": (lambda p: nrrd(p / "a.nrrd", "100000 100000"), "10000 megapixels"),
    "nrrd of 16 dimensions": (lambda p: nrrd(p / "a.nrrd", "1 " * 14 + "8 8"), "a volume of size 1 x 1 .* one slice"),
    "nrrd of two dimensions": (lambda p: nrrd(p / "a.nrrd", "8 8", dimension="16"), "dimension 16 and 2 sizes"),
    "nrrd of vectors": (lambda p: nrrd(p / "a.nrrd", "8 8", type="block"), "type is block"),
    "dicom": (lambda p: write_dicom(p / "a.dcm", ramp(), Rows=40000, Columns=40000), "1600 megapixels"),
    "dicom samples": (lambda p: write_dicom(p / "a.dcm", ramp(), SamplesPerPixel=60000), "60000 values per pixel"),
    "deflated": (lambda p: deflated(p / "a.dcm", 2**30), "reading it needs about 2.0 GB; expected at most 2"),
    "jpeg 2000": (lambda p: j2k(p / "a.dcm", 65500, 65500, 65500), "the compressed data hold 65500 x 65500 x 1 values"),
    "jpeg 2000 tiles": (lambda p: j2k(p / "a.dcm", 8, 2**31, 1), "no size in the compressed data"),
}


@pytest.mark.parametrize("name", GIANTS)
@pytest.mark.parametrize("read", [read_mammogram, lambda path: LoadMammogramd("i")({"i": path})], ids=["read", "infer"])
def test_giants_are_refused_without_their_memory(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    make, reason = GIANTS[name]
    path = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=reason) as refusal:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", [name for name in GIANTS if "jpeg 2000" not in name and "tiff" not in name])
def test_a_dry_run_refuses_them_as_well(tmp_path: Path, name: str) -> None:
    make, reason = GIANTS[name]
    with pytest.raises(UserError, match=reason):
        probe_mammogram(make(tmp_path))


def test_limits_are_the_users(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((1000, 1100), np.uint8)).save(tmp_path / "a.png")
    assert read_mammogram(tmp_path / "a.png").pixels.shape == (1000, 1100)
    with pytest.raises(UserError, match=r"a\.png: 1000 x 1100 pixels, 1 megapixels; expected at most 1;"):
        LoadMammogramd("image", max_megapixels=1)({"image": tmp_path / "a.png"})
    with (
        limited(Limits(memory_gb=0.001)),
        pytest.raises(UserError, match=r"needs about 0\.0 GB; expected at most 0\.001"),
    ):
        read_mammogram(tmp_path / "a.png")
    for wrong in (0, -1, float("nan"), float("inf"), "many", True, None):
        with pytest.raises(UserError, match=r"--max_megapixels is .*; expected a positive number"):
            Limits(wrong)  # type: ignore[arg-type]


def test_a_giant_that_the_user_allows_is_read(tmp_path: Path) -> None:
    """Also beyond the limits of Pillow, which raises an error at 179 megapixels."""
    with limited(Limits(megapixels=200)):
        assert read_mammogram(npy(tmp_path / "a.npy", 18000, 10000)).pixels.shape == (18000, 10000)
        Image.fromarray(np.zeros((18000, 10000), bool)).save(tmp_path / "a.png")
        assert read_mammogram(tmp_path / "a.png").pixels.shape == (18000, 10000)


def test_size_in_jpeg_2000_data() -> None:
    assert jpeg2000_size(codestream(64, 48, 16)) == (12, 64, 48, 1)
    box = struct.pack(">I", 12) + b"jP  \r\n\x87\n"
    assert jpeg2000_size(box + struct.pack(">I", 0) + b"jp2c" + codestream(64, 48, 16)) == (12, 64, 48, 1)
    for broken in (b"", b"\xff\x4f", codestream(64, 48, 16)[:40], codestream(64, 48, 0), box, box + bytes(20)):
        assert jpeg2000_size(broken) is None


@pytest.mark.parametrize("shape", [(1, 20000), (20000, 1)])
def test_strips_are_refused_wherever_they_would_be_enlarged(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match=r"a\.npy: \d+ x \d+ pixels; expected a mammogram, neither side 20 times"):
        read_mammogram(tmp_path / "a.npy")
    with pytest.raises(UserError, match="neither side 20 times"):
        read_mammogram(write_dicom(tmp_path / "a.dcm", np.zeros(shape, np.uint16)))
    with pytest.raises(UserError, match="neither side 20 times"):
        working_size(*shape, 1152)
    assert working_size(*shape, None) == shape


def test_a_jpeg_of_many_segments_is_refused_before_pillow_joins_them(tmp_path: Path) -> None:
    Image.fromarray(np.eye(16, dtype=np.uint8) * 200).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    segment = b"\xff\xe1\xff\xffExif\0\0".ljust(65537, b"\0")
    for count in (10, 300):
        saved(tmp_path / "b.jpg", content[:2] + b"\xff\xff" + segment * count + content[2:])
        if count == 10:
            assert read_mammogram(tmp_path / "b.jpg").pixels.shape == (16, 16)
    with pytest.raises(UserError, match=r"b\.jpg: more than 16 MB before the pixels of a JPEG; save it again"):
        read_mammogram(tmp_path / "b.jpg")


def test_a_progressive_jpeg_of_many_scans_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.jpg", progressive=True)
    assert read_mammogram(tmp_path / "a.jpg").pixels.shape == (64, 64)
    content = (tmp_path / "a.jpg").read_bytes()
    last = content.rindex(b"\xff\xda")
    saved(tmp_path / "b.jpg", content[:last] + content[last:-2] * limits.JPEG_SCANS + b"\xff\xd9")
    with pytest.raises(UserError, match=r"b\.jpg: JPEG of \d+ scans; expected at most 100"):
        read_mammogram(tmp_path / "b.jpg")


def test_a_tile_that_is_larger_than_its_image(tmp_path: Path) -> None:
    """The buffer of a TIFF tile has the size that the tags state."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path, compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    directory = int.from_bytes(content[4:8], "little")
    end = directory + 2 + 12 * content[directory]
    content[end - 24 : end] = struct.pack("<HHIIHHII", 322, 4, 1, 60000, 323, 4, 1, 60000)
    with pytest.raises(UserError, match=r"60000 x 60000 pixels, 3600 megapixels"):
        read_mammogram(saved(path, content))
