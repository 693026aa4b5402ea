"""Tables 2 to 6, typed from the paper, against the built networks and the errata of docs/paper.md."""

from __future__ import annotations

import re

import pytest
from repository import ROOT

from nets import summary

CLASSES = 19
ERRATA = ROOT / "docs" / "paper.md"
C = "num_classes"

Cell = tuple[str, str, str]  # table, layer, column

COLUMNS = "name layer kernel_size stride padding input_size output_size input_maps output_maps receptive_field"
DILATED = "name layer kernel_size stride padding dilation input_size output_size input_maps output_maps receptive_field"

TABLE_2 = """
conv1_1     1   3  1  SAME  256  256  3     64    3
conv1_2     2   3  1  SAME  256  256  64    64    5
max_pool1   3   2  2  SAME  256  128  64    64    6
conv2_1     4   3  1  SAME  128  128  64    128   10
conv2_2     5   3  1  SAME  128  128  128   128   14
max_pool2   6   2  2  SAME  128  64   128   128   16
conv3_1     7   3  1  SAME  64   64   128   256   24
conv3_2     8   3  1  SAME  64   64   256   256   32
conv3_3     9   3  1  SAME  64   64   256   256   40
max_pool3   10  2  2  SAME  64   32   256   256   44
conv4_1     11  3  1  SAME  32   32   256   512   60
conv4_2     12  3  1  SAME  32   32   512   512   76
conv4_3     13  3  1  SAME  32   32   512   512   92
max_pool4   14  2  2  SAME  32   16   512   512   100
conv5_1     15  3  1  SAME  16   16   512   512   132
conv5_2     16  3  1  SAME  16   16   512   512   164
conv5_3     17  3  1  SAME  16   16   512   512   196
max_pool5   18  2  2  SAME  16   8    512   512   212
conv6_1     19  7  1  SAME  8    8    512   4096  292
conv6_2     20  1  1  SAME  8    8    4096  4096  292
scores      21  1  1  SAME  8    8    4096  num_classes  292
"""

TABLE_3 = """
t_conv_1  1  4  2  SAME  8   16  num_classes  num_classes  -
t_conv_2  1  4  2  SAME  16  32  num_classes  num_classes  -
"""

TABLE_4 = """
conv1_1    1   3  1  VALID  572  570  3     64    3
conv1_2    2   3  1  VALID  570  568  64    64    5
max_pool1  3   2  2  VALID  568  284  64    64    5
conv2_1    4   3  1  VALID  284  282  64    128   10
conv2_2    5   3  1  VALID  282  64   128   128   14
max_pool2  6   2  2  VALID  280  140  128   128   16
conv3_1    7   3  1  VALID  140  138  128   256   24
conv3_2    8   3  1  VALID  138  136  256   256   32
max_pool3  9   2  2  VALID  136  68   256   512   36
conv4_1    10  3  1  VALID  68   66   512   512   52
conv4_2    11  3  1  VALID  66   64   512   512   68
max_pool4  12  2  2  VALID  64   32   512   1024  76
conv5_1    13  3  1  VALID  32   30   1024  1024  108
conv5_2    14  3  1  VALID  30   28   1024  1024  140
"""

# The three sizes of a cell are those of the sides 632, 1024 and 1400 that the crops of the stages have.
TABLE_5 = """
conv1_1      1   3  1  SAME  1  632/1024/1400  632/1024/1400  3     64    3
conv1_2      2   3  1  SAME  1  632/1024/1400  632/1024/1400  64    64    5
max_pool1    3   2  2  SAME  1  632/1024/1400  316/512/700    64    64    6
conv2_1      4   3  1  SAME  1  316/512/700    316/512/700    64    128   10
conv2_2      5   3  1  SAME  1  316/512/700    316/512/700    128   128   14
max_pool2    6   2  2  SAME  1  316/512/700    158/256/350    128   128   16
conv3_1      7   3  1  SAME  1  158/256/350    158/256/350    128   256   24
conv3_2      8   3  1  SAME  1  158/256/350    158/256/350    256   256   32
conv3_3      9   3  1  SAME  1  158/256/350    158/256/350    256   256   40
max_pool3    10  2  2  SAME  1  158/256/350    79/128/175     256   256   44
conv4_1      11  3  1  SAME  1  79/128/175     79/128/175     256   512   60
conv4_2      12  3  1  SAME  1  79/128/175     79/128/175     512   512   76
conv4_3      13  3  1  SAME  1  79/128/175     79/128/175     512   512   92
dil_conv5_1  14  3  1  SAME  2  79/128/175     79/128/175     512   512   124
dil_conv5_2  15  3  1  SAME  2  79/128/175     79/128/175     512   512   156
dil_conv5_3  16  3  1  SAME  2  79/128/175     79/128/175     512   512   188
dil_conv6_1  17  7  1  SAME  4  79/128/175     79/128/175     512   4096  380
conv6_2      18  1  1  SAME  1  79/128/175     79/128/175     4096  4096  380
scores       19  1  1  SAME  1  79/128/175     79/128/175     4096  num_classes  380
"""

TABLE_6 = """
context1   20  3  1  SAME  1   79/128/175  79/128/175  num_classes  num_classes  3
context2   21  3  1  SAME  1   79/128/175  79/128/175  num_classes  num_classes  5
context3   22  3  1  SAME  2   79/128/175  79/128/175  num_classes  num_classes  9
context4   23  3  1  SAME  4   79/128/175  79/128/175  num_classes  num_classes  17
context5   24  3  1  SAME  8   79/128/175  79/128/175  num_classes  num_classes  33
context6   25  3  1  SAME  16  79/128/175  79/128/175  num_classes  num_classes  65
context7   26  3  1  SAME  16  79/128/175  79/128/175  num_classes  num_classes  97
context8   27  3  1  SAME  32  79/128/175  79/128/175  num_classes  num_classes  161
context9   28  3  1  SAME  1   79/128/175  79/128/175  num_classes  num_classes  161
context10  29  3  1  SAME  1   79/128/175  79/128/175  num_classes  num_classes  161
"""

# Table, its text, its columns, the network, the section of its summary, and the side of the image.
CASES = [
    ("2", TABLE_2, COLUMNS, "fcn", 0, 256),
    ("3", TABLE_3, COLUMNS, "fcn", 1, 256),
    ("4", TABLE_4, COLUMNS, "valid_unet", 0, 572),
    *[("5", TABLE_5, DILATED, "dilation10", 0, size) for size in (632, 1024, 1400)],
    *[("6", TABLE_6, DILATED, "dilation10", 1, size) for size in (632, 1024, 1400)],
]


def typed(text: str, columns: str, size: int) -> dict[tuple[str, str], str]:
    """The cells of a table of the paper by layer and column, for one side of the image."""
    choice = {632: 0, 1024: 1, 1400: 2}.get(size, 0)
    cells = {}
    for line in text.strip().splitlines():
        row = dict(zip(columns.split(), line.split(), strict=True))
        name = row.pop("name").removeprefix("dil_")
        for column, value in row.items():
            value = value.split("/")[choice] if "/" in value else value
            cells[name, column] = str(CLASSES) if value == C else value
    return cells


def built(network: str, section: int, size: int) -> dict[tuple[str, str], str]:
    """The same of the built network."""
    _, sections = summary.tables(network, CLASSES, 1.0, size)
    return {
        (row.name, column): f"{value:g}" if isinstance(value := getattr(row, column), float) else str(value)
        for row in sections[section][1]
        for column in DILATED.split()[1:]
    }


def errata() -> dict[Cell, tuple[str, str]]:
    """The errata of docs/paper.md: what the paper says of a cell, and what its own numbers give."""
    text = ERRATA.read_text(encoding="utf-8").split("## Errata of the tables")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {(table, layer, column): (paper, ours) for table, layer, column, paper, ours, _ in rows[2:]}


@pytest.mark.parametrize(
    ("table", "text", "columns", "network", "section", "size"), CASES, ids=[f"{c[0]}-{c[-1]}" for c in CASES]
)
def test_every_cell_is_the_papers_or_an_erratum(
    table: str, text: str, columns: str, network: str, section: int, size: int
) -> None:
    paper, ours = typed(text, columns, size), built(network, section, size)
    differing = {(table, *cell): (value, ours[cell]) for cell, value in paper.items() if value not in (ours[cell], "-")}
    assert differing == {cell: values for cell, values in errata().items() if cell[0] == table}


@pytest.mark.parametrize(("table", "text", "columns", "network", "section", "size"), CASES[:4] + CASES[6:7])
def test_no_layer_is_missing_or_added(
    table: str, text: str, columns: str, network: str, section: int, size: int
) -> None:
    _, sections = summary.tables(network, CLASSES, 1.0, size)
    names = [row.name for row in sections[section][1]]
    in_paper = list(dict.fromkeys(name for name, _ in typed(text, columns, size)))
    assert [name for name in names if not name.startswith("score_pool")] == in_paper


def test_the_tables_typed_here_are_whole() -> None:
    assert [len(text.strip().splitlines()) for text in (TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6)] == [
        21, 2, 14, 19, 10
    ]  # fmt: skip


def test_parameters_in_the_documentation() -> None:
    text = ERRATA.read_text(encoding="utf-8")
    for name, label in (
        ("fcn", "FCN"),
        ("valid_unet", "ValidUNet"),
        ("dilation10", "Dilation10"),
        ("deeplabv3", "DeepLabV3"),
        ("unet", "bundles/unet"),
    ):
        network, _ = summary.tables(name, CLASSES)
        assert re.search(
            rf"^\| .*`{label}`.* \| {sum(p.numel() for p in network.parameters()):,}", text, re.MULTILINE
        ), name


def test_the_front_has_the_shapes_of_the_published_definition() -> None:
    """The Caffe definition of the original for Cityscapes: output, input, kernel of each convolution."""
    network, _ = summary.tables("dilation10", 19)
    published = [
        (64, 3, 3), (64, 64, 3), (128, 64, 3), (128, 128, 3), (256, 128, 3), (256, 256, 3), (256, 256, 3),
        (512, 256, 3), (512, 512, 3), (512, 512, 3), (512, 512, 3), (512, 512, 3), (512, 512, 3),
        (4096, 512, 7), (4096, 4096, 1), (19, 4096, 1),
    ]  # fmt: skip
    shapes = [tuple(p.shape[:3]) for name, p in network.named_parameters() if name.endswith("weight")]
    assert shapes[: len(published)] == published
