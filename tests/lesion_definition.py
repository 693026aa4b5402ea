"""The protocol of docs/evaluation.md for lesions, written down with SciPy and loops alone: slow, and plain."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label

EIGHT = np.ones((3, 3))


def definition(p: np.ndarray, floor: float = 0.01) -> list[tuple[float, np.ndarray]]:
    """Score and region (a mask of the whole image) of each candidate, in order of descending score."""
    found = []
    for score in np.unique(p[p >= floor])[::-1]:
        parts, count = label(p >= score / 2, EIGHT)
        regions = [parts == number for number in range(1, count + 1)]
        tops = [region for region in regions if p[region].max() == score]
        found += [(float(score), r) for r in sorted(tops, key=lambda r: np.flatnonzero(r & (p == score))[0])]
    return found


def curve(images: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[float, int, int]]:
    """(threshold, lesions found, false positives) of masks of the truth and probability maps."""
    events, thresholds = [], set()
    for truth, p in images:
        lesions, count = label(truth, EIGHT)
        found: set[int] = set()
        for score, region in definition(p):
            thresholds.add(score)
            ious = {n: (region & (lesions == n)).sum() / (region | (lesions == n)).sum() for n in range(1, count + 1)}
            hits = {n: iou for n, iou in ious.items() if iou >= 0.1}
            free = [n for n in hits if n not in found]
            if free:
                found.add(max(free, key=lambda n: hits[n]))
                events.append((score, 1, 0))
            elif not hits:
                events.append((score, 0, 1))
    return [
        (t, sum(h for s, h, _ in events if s >= t), sum(f for s, _, f in events if s >= t))
        for t in sorted(thresholds, reverse=True)
    ]
