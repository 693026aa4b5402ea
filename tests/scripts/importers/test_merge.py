"""Binary maps become one label map: ranking, superposition, smoothing, and the task tumor against the rest."""

from __future__ import annotations

import random
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from scripts.importers.labels.classes import TABLE_7, ClassTable, fixed_table
from scripts.importers.labels.merge import Tally, checked_smooth, smooth_edges, superpose
from transforms.errors import UserError
from transforms.vocabulary import plain

SHAPE = (30, 22)

# Typed from the paper's Table 7, the tumor region and then the other column from top to bottom
PAPER = (
    "Tumor",
    "Nipple",
    "Areola",
    "Calcifications",
    "Skin",
    "Thick vessels",
    "Pectoral muscle",
    "Auxiliary lymph nodes",
    "Calcified vessels",
    "Text",
    "Submammary tissue",
    "Foreign object",
    "Mammary gland",
    "Background",
)


def stamp(pixels: np.ndarray, mask: np.ndarray) -> None:
    mask |= pixels


def drawn(**maps: np.ndarray) -> dict[str, partial]:
    return {name.replace("_", " "): partial(stamp, pixels) for name, pixels in maps.items()}


def block(rows: slice, columns: slice, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def test_table_7_is_the_papers() -> None:
    assert tuple(plain(name) for name in PAPER) == TABLE_7


def test_table_7_ranks_a_list_of_its_names_and_no_other_list() -> None:
    shuffled = [name.lower() for name in PAPER[:-1]]
    random.Random(3).shuffle(shuffled)
    names = ["background", *shuffled]
    order = ClassTable.make(names, {}).order
    assert [names[label] for label in reversed(order)] == [name.lower() for name in PAPER]
    assert ClassTable.make(["background", "tumor", "adipose tissue"], {}).order == (0, 1, 2)
    assert ClassTable.make(["background", "mass", "calcification"], {}).order == (0, 2, 1)
    assert ClassTable.make(["background", "mass", "skin"], {}, ["skin"]).order == (0, 1, 2)


def test_the_higher_rank_lies_on_top_and_overlaps_are_counted() -> None:
    table = ClassTable.make(["background", "mammary gland", "skin", "tumor"], {"gland": "mammary gland"})
    tally = Tally()
    maps = drawn(
        tumor=block(slice(5, 10), slice(5, 10)),
        skin=block(slice(0, 7), slice(0, 22)),
        gland=block(slice(4, 20), slice(0, 12)),
        mammary_gland=block(slice(10, 21), slice(0, 12)),
    )
    label = superpose(SHAPE, maps, table, tally)
    expected = np.zeros(SHAPE, np.uint8)
    expected[4:21, :12] = 1
    expected[:7] = 2
    expected[5:10, 5:10] = 3
    np.testing.assert_array_equal(label, expected)
    assert tally.overlaps == {"skin over mammary gland": 36, "tumor over skin": 10, "tumor over mammary gland": 15}
    assert tally.notes == {}


MASKS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 28), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12)),
    min_size=1,
    max_size=8,
)
NAMES = ("background", "a", "b", "c", "d")


@settings(max_examples=80, deadline=None)
@given(MASKS, st.permutations(NAMES), st.randoms(use_true_random=False))
def test_any_order_of_input_gives_the_map_that_the_ranking_says(boxes, precedence, shuffler) -> None:
    """Against the plain definition: of the structures that hold a pixel, the one named first wins."""
    maps: dict[str, np.ndarray] = {}
    for index, row, column, height, width in boxes:
        maps.setdefault(NAMES[index], np.zeros(SHAPE, bool))[row : row + height, column : column + width] = True
    names = list(maps)
    shuffler.shuffle(names)
    table = ClassTable.make(NAMES, {}, precedence)
    tally = Tally()
    label = superpose(SHAPE, {name: partial(stamp, maps[name]) for name in names}, table, tally)
    expected = np.zeros(SHAPE, np.uint8)
    for name in reversed(precedence):
        expected[maps.get(name, np.zeros(SHAPE, bool))] = NAMES.index(name)
    np.testing.assert_array_equal(label, expected)
    covered = sum(mask.astype(int) for mask in maps.values())
    assert sum(tally.overlaps.values()) == int(np.maximum(covered - 1, 0).sum())


def test_the_task_tumor_is_the_tumors_own_map_whatever_covers_it() -> None:
    maps = drawn(cancer=block(slice(5, 10), slice(5, 10)), text=block(slice(0, 30), slice(0, 8)))
    table = ClassTable.make(["background", "cancer", "text"], {"mark": "text"}, ["text"], "tumor")
    assert table.names == ("non-tumor", "tumor")
    tally = Tally()
    label = superpose(SHAPE, maps, table, tally)
    np.testing.assert_array_equal(label, block(slice(5, 10), slice(5, 10)).astype(np.uint8))
    assert tally.overlaps == {}


@pytest.mark.parametrize(
    ("names", "task", "reason"),
    [
        (["background", "gland"], "tumor", "none of the classes background, gland is called tumor"),
        (["cancer", "mass"], "tumor", "each of the classes"),
        (["background", "cancer"], "tumour", "--task is 'tumour'; expected anatomy or tumor"),
    ],
)
def test_wrong_tasks(names, task, reason) -> None:
    with pytest.raises(UserError, match=reason):
        ClassTable.make(names, {}, None, task)


def test_known_classes_are_found_in_any_spelling() -> None:
    names, aliases = ("background", "thick vessels", "mass", "calcification"), {"Cluster": "calcification"}
    table = fixed_table(names, {"Thick_vessel": "background"}, ["calcifications"], "anatomy", aliases)
    assert table.names == ("background", "mass", "calcification")
    assert table.known == {"background": 0, "thick vessels": 0, "mass": 1, "calcification": 2, "Cluster": 2}
    assert fixed_table(names, {"cluster": "mass"}, aliases=aliases).known["Cluster"] == 2
    assert fixed_table(names, {"calcification": "mass"}, aliases=aliases).known["Cluster"] == 2
    for merge, precedence in (({"skn": "mass"}, None), ({"mass": "skn"}, None), (None, ["skn"])):
        with pytest.raises(UserError, match="skn is not among the classes"):
            fixed_table(names, merge, precedence)


def test_smoothing_keeps_straight_edges_where_they_are() -> None:
    for mask in (
        block(slice(10, 30), slice(0, 22)),
        block(slice(0, 30), slice(7, 22)),
        block(slice(0, 30), slice(0, 9)),
    ):
        before = mask.copy()
        assert smooth_edges(mask, 1.5)
        np.testing.assert_array_equal(mask, before)


def test_smoothing_rounds_corners_and_neither_grows_nor_shrinks() -> None:
    """The published code takes this 20 x 20 square of 400 pixels to 632 (0 and 255) or 144 (0 and 1)."""
    mask = block(slice(10, 30), slice(10, 30), (40, 40))
    assert smooth_edges(mask, 1.0)
    assert 400 - 4 * 3 <= mask.sum() < 400
    assert mask[10:30, 20].all()
    assert not mask[9].any()
    assert not mask[:, 30:].any()
    eight_bit = gaussian_filter(np.where(block(slice(10, 30), slice(10, 30), (40, 40)), 255, 0).astype(np.uint8), 1.0)
    assert (eight_bit > 0).sum() == 632


def test_smoothing_removes_a_spike_and_keeps_what_would_vanish() -> None:
    mask = block(slice(10, 20), slice(5, 15))
    mask[3:10, 9] = True
    assert smooth_edges(mask, 2.0)
    assert not mask[:8].any()
    lone = block(slice(4, 5), slice(4, 5))
    assert not smooth_edges(lone, 2.0)
    assert lone.sum() == 1
    assert smooth_edges(np.zeros(SHAPE, bool), 2.0)


@settings(max_examples=60, deadline=None)
@given(MASKS, st.floats(0.3, 4.0))
def test_smoothing_a_part_of_the_image_is_smoothing_all_of_it(boxes, sigma) -> None:
    mask = np.zeros(SHAPE, bool)
    for _, row, column, height, width in boxes:
        mask[row : row + height, column : column + width] = True
    whole = gaussian_filter(mask.astype(np.float32), sigma, mode="nearest", truncate=4.0) > 0.5
    if smooth_edges(mask, sigma):
        np.testing.assert_array_equal(mask, whole)
    else:
        assert not whole.any()


@pytest.mark.parametrize("name", ["calcifications", "text", "nipple", "auxiliary lymph nodes", "Axillary_lymph_nodes"])
def test_the_four_small_structures_are_not_smoothed(name) -> None:
    """Not as a class, and not as a part of another one."""
    cross = block(slice(10, 11), slice(4, 18)) | block(slice(4, 18), slice(10, 11))
    for table in (ClassTable.make(["background", name], {}), ClassTable.make(["background", "x"], {name: "x"})):
        label = superpose(SHAPE, {name: partial(stamp, cross)}, table, Tally(), smooth=2.0)
        np.testing.assert_array_equal(label == 1, cross)
    skin = ClassTable.make(["background", "skin"], {})
    tally = Tally()
    label = superpose(SHAPE, {"skin": partial(stamp, cross)}, skin, tally, smooth=2.0)
    np.testing.assert_array_equal(label == 1, cross)  # would vanish, so it is left as it is, and counted
    assert tally.notes == {"binary maps were too thin to be smoothed and were left unchanged": 1}


@pytest.mark.parametrize("sigma", [-1.0, 101.0, float("nan")])
def test_wrong_smoothing(sigma) -> None:
    with pytest.raises(UserError, match=r"--smooth is .*; expected"):
        checked_smooth(sigma)


def test_memory_is_one_map_and_one_mask_however_many_structures() -> None:
    shape, names = (1000, 1000), [f"c{number}" for number in range(40)]
    table = ClassTable.make(names, {})

    def draw(mask: np.ndarray) -> None:
        mask[100:900, 100:900] = True

    tracemalloc.start()
    superpose(shape, dict.fromkeys(names, draw), table, Tally())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 1000 * 1000


def test_tables_of_a_tally() -> None:
    tally = Tally()
    tally.count("missing", "skin", 2)
    tally.count("missing", "cancer")
    tally.notes["things"] += 1
    assert tally.cells("missing") == {"cancer": 1, "skin": 2}
