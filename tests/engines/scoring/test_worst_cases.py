"""The page of pictures, worst cases first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engines.records.output_folder import Output
from engines.scoring.matching import FALSE, HIT, ImageLesions, Judged, Lesion
from engines.scoring.worst_cases import reason, worst_first, write_worst_cases


def image(subject: str, view: str, found: bool = True, false: int = 0, shared: int = 5) -> ImageLesions:
    """An image with one lesion of 10 pixels, of which `shared` are in a mask of 10."""
    lesion = Lesion(10, 0.01, None, (0, 0, 3, 3), 0.9 if found else None, 0.5)
    hits = (Judged(0.9, 10, (0, 0, 3, 3), HIT, 0),) if found else ()
    wrong = tuple(Judged(0.8, 5, (5, 5, 8, 8), FALSE, None) for _ in range(false))
    return ImageLesions(subject, f"{subject}_{view}", 10, 10, shared, (lesion,), (*hits, *wrong))


@pytest.mark.parametrize(
    ("truth", "predicted", "shared", "expected"),
    [
        (10, 10, 9, ""), (10, 20, 10, "leaked"), (10, 4, 4, "cut short"), (10, 0, 0, "missed"),
        (10, 10, 3, "leaked, cut short"), (10, 14, 9, ""), (0, 5, 0, ""),
    ],
)  # fmt: skip
def test_reasons_of_the_mask(truth: int, predicted: int, shared: int, expected: str) -> None:
    assert reason(ImageLesions("s", "c", truth, predicted, shared)) == expected


def test_missed_lesions_come_first_then_false_positives_then_dice(tmp_path: Path) -> None:
    normal = ImageLesions("normal", "normal_CC", 0, 0, 0, (), ())
    images = [
        image("good", "CC", shared=9), normal, image("poor", "CC", shared=2), image("wrong", "CC", false=2, shared=9),
        image("missed", "CC"), image("missed", "MLO", found=False), image("<b>", "CC", shared=8),
    ]  # fmt: skip
    order = ["missed", "wrong", "poor", "<b>", "good", "normal"]
    assert [subject for subject, _ in worst_first(images)] == order
    page = write_worst_cases(Output(tmp_path), images).read_text(encoding="utf-8")
    assert re.findall(r'src="([^"]*)"', page)[:2] == ["panels/missed.png", "panels/wrong.png"]
    assert re.findall(r'<a href="(panels[^"]*)"', page)[:2] == ["panels/missed.png", "panels/wrong.png"]
    assert "missed_MLO: 1 of 1 lesions missed, 0 false, Dice 0.500 (missed, leaked, cut short)" in page
    rows = re.findall(r"<tr><td><a href=\"#([^\"]*)\">.*?</a></td><td>(.*?)</td>", page)
    assert rows[:3] == [("missed", "missed, leaked, cut short"), ("missed", "leaked, cut short"), ("wrong", "false")]
    assert "normal_CC: 0 of 0 lesions missed, 0 false, no lesion" in page
    assert "<b>" not in page
