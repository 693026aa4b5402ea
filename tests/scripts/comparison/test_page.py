"""The page: embedded content, links and colors."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.scoring.metrics import trivial_row
from scripts.comparison.image_strips import Case, legend
from scripts.comparison.page import EMBEDDED, LARGEST, _case, _fit, _framed, encoded_pictures
from scripts.comparison.viewer import page_tools, viewer
from transforms.palette import CITYSCAPES, PALETTE, VOID_COLOUR, colour


def case(name: str, label: int, names: list[str]) -> Case:
    truth = Image.fromarray(colour(np.full((4, 3), label, np.uint8), names))
    return Case(name, {"image": Image.new("RGB", (3, 4)), "truth": truth, "U-Net <1>": truth})


def test_names_are_text_in_the_page() -> None:
    shown = case("s1 <b>", 1, ["a", "b"])
    text = _case(shown, encoded_pictures(shown), None) + viewer(1, ["s1 <b>"], ["U-Net <1>"], ["#000000"])
    assert "<b>" not in text
    assert "U-Net <1>" not in text
    assert text.count('data-head="U-Net &lt;1&gt;"') == text.count('<option value="U-Net &lt;1&gt;">') == 1
    assert text.count("data:image/png;base64,") == 3


def test_pictures_of_many_images_are_files(tmp_path: Path) -> None:
    shown = case("s1", 1, ["a", "b"])
    text = _case(shown, encoded_pictures(shown), tmp_path / "images" / "1-0")
    sources = re.findall(r'src="([^"]+)"', text)
    assert sources == ["images/1-0-0.png", "images/1-0-1.png", "images/1-0-2.png"]
    with Image.open(tmp_path / sources[1]) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB"))[0, 0], PALETTE[1])


def test_twenty_images_of_any_content_fit_without_loss() -> None:
    """Five layers of 320 rows; noise is the content of which PNG files are largest."""
    random = np.random.default_rng(0)
    classes = ["background", "fat", "gland", "muscle", "tumor"]
    pixels = {"image": random.integers(0, 256, (320, 256, 3), dtype=np.uint8)}
    pixels["truth"] = colour(random.integers(0, 5, (320, 256), dtype=np.uint8), classes)
    pngs = encoded_pictures(Case("s1", {head: Image.fromarray(values) for head, values in pixels.items()}))
    for head, values in pixels.items():
        with Image.open(io.BytesIO(pngs[head])) as picture:
            assert np.array_equal(np.asarray(picture.convert("RGB")), values)
    four_models = {**pngs, **{f"model {n}": pngs["truth"] for n in range(4)}}
    assert _fit([[four_models] * EMBEDDED])
    assert not _fit([[four_models] * EMBEDDED, [four_models]])
    assert not _fit([[{"image": bytes(LARGEST)}]])


@pytest.mark.parametrize(("label", "void"), [(0, False), (255, True)])
def test_void_is_in_the_legend_where_it_is_in_a_label(label: int, void: bool) -> None:
    names = ["road", "sky"]
    entries = legend([case("s1", label, names)], names)
    expected = [("road", CITYSCAPES["road"]), ("sky", CITYSCAPES["sky"])]
    assert entries == [*expected, *([("void", VOID_COLOUR)] if void else [])]


def test_what_runs_only_with_a_script_is_hidden_without() -> None:
    for text in (page_tools(), viewer(1, ["a"], ["m"], ["#000000"])):
        assert re.match(r"<div [^>]*\bhidden>", text)


def test_tables_have_a_head_of_columns() -> None:
    text = _framed(["Model", "<x>"], ["<tr><td>1</td></tr>"])
    assert '<thead><tr><th scope="col">Model</th><th scope="col">&lt;x&gt;</th></tr></thead>' in text


def test_the_row_of_class_0_has_its_name() -> None:
    assert trivial_row(["background", "tumor"]) == "all background"
    assert trivial_row(["road", "sky"]) == "all road"
