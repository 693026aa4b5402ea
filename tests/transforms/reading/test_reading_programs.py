"""No file starts another program: Pillow would pass PostScript to Ghostscript, whatever the file's name."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from scripts.comparison.image_strips import _rgb
from scripts.importers.labels.label_images import read_label_image
from scripts.importers.sources.csaw_s_files import header
from scripts.prepare import main
from transforms.errors import UserError
from transforms.reading.load_mammogram import LoadMammogramd
from transforms.reading.mammogram import probe_mammogram, read_mammogram
from transforms.reading.photographs import read_photograph

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
PROGRAMS = ("gs", "gswin64c", "convert", "magick", "djpeg", "dcmdjpeg", "ffmpeg", "xv", "display", "inkscape")
SUFFIXES = (".png", ".jpg", ".tif", ".bmp", ".dcm", ".nii", ".nii.gz", ".mha", ".nrrd", ".npy", "")


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists if one of the programs was started; they are first on PATH."""
    folder, trace = tmp_path / "programs", tmp_path / "started"
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f"#!{sys.executable}\nopen({str(trace)!r}, 'a').write({name!r})\n")
        program.chmod(0o755)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow remembers what it found
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return trace


def postscript(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(POSTSCRIPT)
    return path


def test_the_stub_is_found_by_pillow_without_a_list_of_formats(tmp_path: Path, started: Path) -> None:
    """The behavior that the other tests exclude, which shows that these can fail."""
    with (
        pytest.raises(OSError, match=r"Unable to locate|broken|cannot|truncated|No such"),
        Image.open(postscript(tmp_path / "a.png")) as image,
    ):
        image.load()
    assert set(started.read_text()) == set("gs")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "read",
    [read_mammogram, probe_mammogram, read_photograph, read_label_image, lambda path: LoadMammogramd("i")({"i": path})],
    ids=["read", "probe", "photograph", "label", "inference"],
)
def test_postscript_is_refused_and_runs_nothing(
    tmp_path: Path, started: Path, suffix: str, read: Callable[[Path], object]
) -> None:
    path = postscript(tmp_path / f"a{suffix}")
    if read is probe_mammogram:  # which looks at headers, and leaves some formats to the reader
        with contextlib.suppress(UserError):
            read(path)
    else:
        with pytest.raises(UserError, match=path.name):
            read(path)
    assert not started.exists()


def test_an_import_of_postscript_leaves_it_out(tmp_path: Path, started: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a", "b", "c"):
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / kind / f"{name}.png")
    postscript(tmp_path / "images" / "a.png")
    arguments = ["folder", tmp_path / "images", tmp_path / "labels", tmp_path / "out", "--values", "0=no,1=tumor"]
    assert main([*map(str, arguments), "--quiet"]) == 0
    assert "a.png: not a readable image" in capsys.readouterr().err
    postscript(tmp_path / "labels" / "b.png")
    arguments[3] = tmp_path / "out2"
    assert main([*map(str, arguments), "--quiet"]) == 2
    assert not started.exists()


def test_pictures_of_a_release_and_of_a_store_are_png_only(tmp_path: Path, started: Path) -> None:
    assert header(postscript(tmp_path / "001_0.png")) == ("", ())
    with pytest.raises(OSError, match="cannot identify"):
        _rgb(postscript(tmp_path / "b.png"), ["background", "tumor"])
    assert not started.exists()
