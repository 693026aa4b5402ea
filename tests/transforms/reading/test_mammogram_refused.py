"""Files that are not plain grayscale mammograms are refused with a reason, never with a traceback."""

from __future__ import annotations

import logging
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from dicom_factory import PLANTED, lut_item, mammogram_header, ramp, write_bare_dicom, write_dicom
from PIL import Image
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from transforms.errors import UserError
from transforms.reading.dicom import subject_of
from transforms.reading.mammogram import read_mammogram

RGB = np.zeros((8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8)


def compressed(path: Path, syntax: str) -> Path:
    header = mammogram_header(ramp((8, 8)))
    header.file_meta.TransferSyntaxUID = syntax
    header.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 not a picture \xff\xd9"])
    header["PixelData"].is_undefined_length = True
    header.save_as(path)
    return path


def cut(path: Path) -> Path:
    write_dicom(path, ramp())
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PLANTED^NAME.dcm", b"something")
    return path


def picture(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "multi-frame": (
        lambda p: write_dicom(p / "a.dcm", np.zeros((8, 3), np.uint16), NumberOfFrames=4, Rows=2),
        r"a\.dcm: multi-frame DICOM of 4 frames",
    ),
    "colour": (
        lambda p: write_dicom(
            p / "a.dcm", RGB, 8, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
        ),
        r"a\.dcm: color DICOM",
    ),
    "cut short": (lambda p: cut(p / "a.dcm"), r"a\.dcm: damaged .* cut short, \d+ of 12288 bytes"),
    "cut in the header": (lambda p: saved(p / "a.dcm", cut(p / "b.dcm").read_bytes()[:700]), r"a\.dcm: "),
    "no pixels": (lambda p: write_dicom(p / "a.dcm", ramp(), PixelData=None), "without an image"),
    "no rows": (lambda p: write_dicom(p / "a.dcm", ramp(), Rows=None), "Rows is missing"),
    "giant": (
        lambda p: write_dicom(p / "a.dcm", ramp(), Rows=65535, Columns=65535),
        "4295 megapixels; expected at most 100",
    ),
    "high bit": (lambda p: write_dicom(p / "a.dcm", ramp(), HighBit=15), "HighBit 15 with 12 bits"),
    "window of no width": (
        lambda p: write_dicom(p / "a.dcm", ramp(), WindowCenter=5, WindowWidth=0),
        r"a\.dcm: its WindowWidth is 0, too small for a LINEAR window; leave the window out with windowing none",
    ),
    "unknown window": (
        lambda p: write_dicom(p / "a.dcm", ramp(), WindowCenter=5, WindowWidth=9, VOILUTFunction="PLANTED"),
        "none of LINEAR, LINEAR_EXACT, SIGMOID",
    ),
    "short table": (
        lambda p: write_dicom(
            p / "a.dcm", ramp(), ModalityLUTSequence=[lut_item([1, 2, 3])], VOILUTSequence=[bad_lut()]
        ),
        "look-up table holds 3 of 9 entries",
    ),
    "damaged jpeg lossless": (
        lambda p: compressed(p / "a.dcm", JPEGLosslessSV1),
        r"a\.dcm: damaged DICOM file: its JPEG Lossless.* pixels cannot be decoded",
    ),
    "damaged jpeg-ls": (lambda p: compressed(p / "a.dcm", JPEGLSLossless), r"its JPEG-LS Lossless.* cannot be decoded"),
    "damaged jpeg 2000": (lambda p: compressed(p / "a.dcm", JPEG2000Lossless), r"its JPEG 2000.* cannot be decoded"),
    "video": (
        lambda p: compressed(p / "a.dcm", MPEG2MPML),
        r"transfer syntax MPEG2.* is not an image that can be read",
    ),
    "zip": (lambda p: zipped(p / "a.dcm"), r"a\.dcm: not a readable image.*it is a zip archive; unpack it first"),
    "locked zip": (
        lambda p: saved(p / "a.png", b"PK\x03\x04\x14\x00\x09\x00" + bytes(40)),
        r"it is a password-protected zip archive",
    ),
    "pdf": (lambda p: saved(p / "a.dcm", b"%PDF-1.7 PLANTED^NAME"), "it is a PDF document"),
    "pgp": (lambda p: saved(p / "a.tif", b"-----BEGIN PGP MESSAGE-----\n"), r"it is encrypted \(PGP\)"),
    "secure dicom": (
        lambda p: saved(p / "a.dcm", bytes.fromhex("308204d306092a864886f70d010703") + bytes(200)),
        r"it is encrypted or signed \(PKCS #7\)",
    ),
    "encrypted junk": (lambda p: saved(p / "a.dcm", random.Random(1).randbytes(5000)), "not a readable image"),
    "html": (
        lambda p: saved(p / "a.jpg", b"<!DOCTYPE html><title>Log in</title>"),
        "a web page .* get the image again",
    ),
    "colour png": (lambda p: picture(p / "a.png", RGB), "a color image; expected a grayscale"),
    "two pages": (
        lambda p: picture(p / "a.tif", ramp((4, 4)), save_all=True, append_images=[Image.fromarray(ramp((4, 4)))]),
        "2 pages or frames",
    ),
    "cut png": (
        lambda p: saved(p / "a.png", picture(p / "b.png", ramp((9, 9))).read_bytes()[:50]),
        "not a readable image, or damaged",
    ),
    "text": (lambda p: saved(p / "a.png", b"password: hunter2\n"), r"a\.png: not a readable image"),
    "empty": (lambda p: saved(p / "a.dcm", b""), r"a\.dcm: not a readable image.*it is empty"),
    "nothing there": (lambda p: p / "absent.png", r"absent\.png: no such file"),
    "pickle": (
        lambda p: (np.save(p / "a.npy", np.array([{}], object), allow_pickle=True), p / "a.npy")[1],
        "not a readable image",
    ),
    "floats": (
        lambda p: (np.save(p / "a.npy", np.full((3, 3), 0.5)), p / "a.npy")[1],
        r"float64 values from 0\.5 to 0\.5",
    ),
    "volume": (lambda p: (np.save(p / "a.npy", np.zeros((4, 5, 6))), p / "a.npy")[1], r"shape \(4, 5, 6\)"),
}


def bad_lut() -> pydicom.Dataset:
    item = lut_item([1, 2, 3])
    item.LUTDescriptor = [9, 0, 12]
    return item


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_file_and_reason(tmp_path, case) -> None:
    make, reason = REFUSED[case]
    path = make(tmp_path)
    with pytest.raises(UserError, match=reason) as refusal:
        read_mammogram(path)
    text = str(refusal.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert not [planted for planted in PLANTED if planted in text]


def test_unknown_windowing_and_bits_that_do_not_hold_the_values(tmp_path) -> None:
    path = picture(tmp_path / "a.png", ramp((64, 64)))
    with pytest.raises(UserError, match="windowing is 'auto'; expected one of none, voi, percentile"):
        read_mammogram(path, "auto")
    with pytest.raises(UserError, match="values up to 4095 exceed the specified 10 bits"):
        read_mammogram(path, bits=10)


def test_what_pydicom_says_of_a_header_is_not_repeated(tmp_path, caplog, recwarn) -> None:
    """pydicom quotes values that break a rule, in its log and in warnings."""
    path = write_dicom(tmp_path / "a.dcm", ramp((8, 8)), PatientID="PLANTED-ID")
    content = path.read_bytes().replace(b"PLANTED-ID", b"PLANTED\\\xff\xfe")
    with caplog.at_level(logging.DEBUG):
        subject_of(saved(path, content.replace(b"1.2.840.10008.1.2.1", b"PLANTED.10008.1.2.1")))
        _reads(path)
    assert not [text for text in (caplog.text, *(str(w.message) for w in recwarn)) if "PLANTED" in text]


def test_every_file_of_pydicom_is_read_or_refused() -> None:
    root = Path(pydicom.data.__file__).parent
    outcome = {True: 0, False: 0}
    for path in [*root.glob("test_files/*"), *root.glob("charset_files/*")]:
        if path.suffix not in (".py", ".pyc", ".json") and path.is_file():
            outcome[_reads(path)] += 1
    assert outcome[True] >= 20
    assert outcome[False] >= 20


def test_damaged_files_never_give_anything_but_an_image_or_a_reason(tmp_path) -> None:
    random_ = random.Random(7)
    sources = [
        write_dicom(tmp_path / "a.dcm", ramp((16, 16)), WindowCenter=[2048, 9], WindowWidth=[4096, 9]),
        write_dicom(tmp_path / "b.dcm", ramp((16, 16)), VOILUTSequence=[lut_item(range(64), first=3)]),
        write_bare_dicom(tmp_path / "c.dcm", ramp((16, 16)), PixelPaddingValue=5),
        Path(pydicom.data.get_testdata_file("MR_small_RLE.dcm", download=False)),
        Path(pydicom.data.get_testdata_file("image_dfl.dcm", download=False)),
        Path(pydicom.data.get_testdata_file("MR_small_jp2klossless.dcm", download=False)),
        picture(tmp_path / "d.png", ramp((16, 16))),
    ]
    contents = [path.read_bytes() for path in sources]
    for _ in range(500):
        _reads(saved(tmp_path / "damaged", _damage(random_.choice(contents), random_)))


def _damage(content: bytes, random_: random.Random) -> bytes:
    bytes_ = bytearray(content)
    if random_.random() < 0.3:
        del bytes_[random_.randrange(len(bytes_)) :]
    for _ in range(random_.choice((0, 1, 3, 30))):
        if len(bytes_) > 140:
            bytes_[random_.randrange(min(len(bytes_), 2500))] = random_.randrange(256)
    if random_.random() < 0.2:
        start = random_.randrange(len(bytes_) + 1)
        del bytes_[start : start + random_.randrange(40)]
    return bytes(bytes_)


def _reads(path: Path) -> bool:
    try:
        image = read_mammogram(path, "voi")
    except UserError as refusal:
        if any(planted in str(refusal) for planted in PLANTED):
            raise AssertionError("the message quotes an identifier") from refusal
        return False
    assert image.pixels.ndim == 2
    assert image.intensity_range[0] <= image.pixels.min() <= image.pixels.max() <= image.intensity_range[1]
    return True
