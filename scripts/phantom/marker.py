"""Burned-in letters of a mammogram: side, view. A 5 x 7 font, so that no font file is needed."""

from __future__ import annotations

import numpy as np

from scripts.phantom.random_draws import Draws

_FONT = {
    "L": ("#....", "#....", "#....", "#....", "#....", "#....", "#####"),
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "C": (".###.", "#...#", "#....", "#....", "#....", "#...#", ".###."),
    "M": ("#...#", "##.##", "#.#.#", "#.#.#", "#...#", "#...#", "#...#"),
    "O": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
}


def _word(letters: str, scale: int) -> np.ndarray:
    """Return the bool raster (7 scale, (6 len - 1) scale) of a word, with letters of the font only."""
    rows = [".".join(_FONT[letter][row] for letter in letters) for row in range(7)]
    return np.kron(np.array([[dot == "#" for dot in row] for row in rows]), np.ones((scale, scale), bool))


def marker(side: str, view: str, shape: tuple[int, int], draw: Draws) -> np.ndarray:
    """Return bool (H, W), in display orientation: `side` large and `view` small, in an upper corner over air.

    The right breast points left on the screen, so its marker is in the left corner; and vice versa.
    """
    scale = max(1, round(shape[0] / 256))
    large, small = _word(side, 2 * scale), _word(view, scale)
    stamp = np.zeros((large.shape[0], large.shape[1] + 2 * scale + small.shape[1]), bool)
    stamp[:, : large.shape[1]] = large
    stamp[-small.shape[0] :, -small.shape[1] :] = small
    if draw.chance(0.25):  # the plate lay on its side
        stamp = np.rot90(stamp)
    top, margin = (draw.integer(4, 9) * scale for _ in range(2))
    left = margin if side == "R" else shape[1] - margin - stamp.shape[1]
    mask = np.zeros(shape, bool)
    mask[top : top + stamp.shape[0], left : left + stamp.shape[1]] = stamp
    return mask
