"""Decoders run in a separate process: a crash costs one image, and no files of other folders are read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from test_dicom_syntaxes import compressed, pixels_of

from transforms.errors import UserError
from transforms.reading import decoder, limits
from transforms.reading.mammogram import read_mammogram

LOSSLESS = "1.2.840.10008.1.2.4.70"
PIXELS = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)


def meta(path: Path, data: bytes = PIXELS.tobytes(), **fields: str) -> Path:
    known = {"ObjectType": "Image", "NDims": "2", "BinaryData": "True", "DimSize": "48 64", "ElementType": "MET_USHORT"}
    known |= {"ElementDataFile": "LOCAL", **fields}
    last = known.pop("ElementDataFile")
    text = "".join(f"{name} = {value}\n" for name, value in known.items())
    path.write_bytes(f"{text}ElementDataFile = {last}\n".encode() + (data if last == "LOCAL" else b""))
    return path


def nrrd(path: Path, data: bytes = PIXELS.tobytes(), **fields: str) -> Path:
    known = {"type": "uint16", "dimension": "2", "sizes": "48 64", "endian": "little", "encoding": "raw"}
    known |= {name.replace("_", " "): value for name, value in fields.items()}
    text = "".join(f"{name}: {value}\n" for name, value in known.items())
    path.write_bytes(f"NRRD0004\n{text}\n".encode() + data)
    return path


def test_a_decoder_that_ends_costs_one_image(tmp_path: Path) -> None:
    path = compressed(tmp_path, pixels_of(12), 12, LOSSLESS)
    first = read_mammogram(path, "none").pixels
    process = decoder._process._running
    assert process is not None
    assert process.poll() is None
    read_mammogram(meta(tmp_path / "a.mha"))
    assert decoder._process._running is process, "one process for all files and formats"
    os.kill(process.pid, signal.SIGSTOP)  # so that it cannot answer before it is killed
    decoder._process._running = process
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SECONDS", 0.5)
        with pytest.raises(
            UserError, match=r"compressed\.dcm: damaged DICOM file: .*the decoder crashed or took too long"
        ):
            read_mammogram(path, "none")
    np.testing.assert_array_equal(read_mammogram(path, "none").pixels, first)
    assert decoder._process._running is not process


def test_a_dead_decoder_is_started_again(tmp_path: Path) -> None:
    path = compressed(tmp_path, pixels_of(12), 12, LOSSLESS)
    first = read_mammogram(path, "none").pixels
    process = decoder._process._running
    assert process is not None
    process.kill()
    process.wait()
    np.testing.assert_array_equal(read_mammogram(path, "none").pixels, first)


def test_a_forked_child_has_a_decoder_of_its_own(tmp_path: Path) -> None:
    """As the workers of a data loader; both answer at once, and neither reads the other's answers."""
    program = f"""
import os, sys
from transforms.reading import decoder
from transforms.reading.mammogram import read_mammogram
path = {str(compressed(tmp_path, pixels_of(12), 12, LOSSLESS))!r}
first = read_mammogram(path, "none").pixels
mine = decoder._process._running.pid
child = os.fork()
for _ in range(5):
    assert (read_mammogram(path, "none").pixels == first).all()
if child == 0:
    os._exit(int(decoder._process._running.pid == mine))
assert decoder._process._running.pid == mine
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False, timeout=120).returncode == 0


def test_the_interpreter_ends_cleanly_and_holds_no_itk(tmp_path: Path) -> None:
    program = f"""
import sys
from transforms.reading.mammogram import read_mammogram
read_mammogram({str(meta(tmp_path / "a.mha"))!r})
assert "itk" not in sys.modules, "an interpreter that holds it can crash at its end"
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=120, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "secret.raw"
    path.parent.mkdir()
    path.write_bytes(PIXELS.tobytes())
    return path


@pytest.mark.parametrize("kind", ["mhd", "nhdr"])
def test_data_beside_the_header_are_read_and_nothing_else(tmp_path: Path, secret: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()

    def named(data: str) -> Path:
        path = folder / f"a.{kind}"
        return meta(path, ElementDataFile=data) if kind == "mhd" else nrrd(path, b"", data_file=data)

    (folder / "a.raw").write_bytes(PIXELS.tobytes())
    np.testing.assert_array_equal(read_mammogram(named("a.raw")).pixels, PIXELS)
    (folder / "link.raw").symlink_to(secret)
    (folder / "loop.raw").symlink_to("loop.raw")
    (folder / "folder.raw").mkdir()
    os.mkfifo(folder / "pipe.raw")
    for data in ("link.raw", "loop.raw", "folder.raw", "pipe.raw", "absent.raw"):
        with pytest.raises(UserError, match=rf"its data {data} are not a regular file in the same folder"):
            read_mammogram(named(data))
    for data in (
        "/etc/passwd",
        "/dev/zero",
        "../elsewhere/secret.raw",
        str(secret),
        "LIST",
        "a%03d.raw 1 3 1",
        "..",
        ".",
    ):
        with pytest.raises(
            UserError, match=r"as its data; expected the name of one file in the same folder|not a regular"
        ):
            read_mammogram(named(data))


HEADERS = {
    "a second data file": (
        dict(Comment="x\nElementDataFile = /etc/passwd\nNDims = 2"),
        "names '/etc/passwd' as its data",
    ),
    "two sizes": (dict(Comment="x\nDimSize = 9 9"), "DimSize occurs twice"),
    "in another case": (dict(Comment="x\ndimsize = 9 9"), "occurs twice"),
    "type": (dict(ElementType="MET_OTHER"), "ElementType is MET_OTHER; expected MET_UCHAR"),
    "size": (dict(DimSize="48 -64"), "DimSize is '48 -64'; expected whole numbers"),
    "dimensions": (dict(NDims="3"), "NDims 3 and DimSize 48 64"),
    "volume": (dict(NDims="5", DimSize="48 64 1 1 1"), "a volume of size 48 x 64 x 1 x 1 x 1; expected one slice"),
    "packed without its size": (dict(CompressedData="True"), "without CompressedDataSize"),
    "packed and short": (dict(CompressedData="True", CompressedDataSize="9000000"), "end early"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_metaio_that_are_refused(tmp_path: Path, name: str) -> None:
    fields, reason = HEADERS[name]
    with pytest.raises(UserError, match=reason):
        read_mammogram(meta(tmp_path / "a.mha", **fields))


def test_compressed_metaio_is_whole_or_refused(tmp_path: Path) -> None:
    packed = zlib.compress(PIXELS.tobytes())
    fields = {"CompressedData": "True", "CompressedDataSize": str(len(packed))}
    np.testing.assert_array_equal(read_mammogram(meta(tmp_path / "a.mha", packed, **fields)).pixels, PIXELS)
    short = zlib.compress(PIXELS.tobytes()[:3000])
    fields["CompressedDataSize"] = str(len(short))
    with pytest.raises(UserError, match="its compressed pixels end early"):
        read_mammogram(meta(tmp_path / "a.mha", short, **fields))


def test_nrrd_of_random_headers_never_ends_the_process(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    content = nrrd(tmp_path / "a.nrrd").read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, 120, 3):
            damaged[place] = random.integers(32, 127)
        (tmp_path / "b.nrrd").write_bytes(damaged)
        try:
            assert read_mammogram(tmp_path / "b.nrrd").pixels.ndim == 2
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
