"""Notes below the table of lesions."""

from __future__ import annotations

from engines.scoring.lesion_files import LesionResult
from engines.scoring.matching import Rule
from scripts.comparison.lesion_table import LesionRow, lesion_notes


def row(title: str, low: float, high: float, score: float, chosen_on: str = "the other 4 folds") -> LesionRow:
    point = {
        "threshold": low, "highest_threshold": high, "min_lesion_score": score, "highest_min_lesion_score": score,
        "rule": "dice", "chosen_on": chosen_on,
    }  # fmt: skip
    return LesionRow(title, LesionResult(("tumor",), Rule(), (), point=point), {}, {})


def test_thresholds_by_one_rule_are_one_sentence() -> None:
    notes = lesion_notes([], [row("A", 0.1, 0.2, 0.5), row("B", 0.3, 0.3, 0.3), row("C", 0.4, 0.4, 0.4, "its women")])
    assert notes[1:] == [
        "Masks are where the probability reaches a threshold; candidates need a smallest score (the same number if "
        "only one is given), by rule dice, chosen on the other 4 folds. A: 0.1 to 0.2 and 0.5; B: 0.3.",
        "C: The mask is where the probability is 0.4 or more; candidates are kept from a score of 0.4 on: rule dice, "
        "chosen on its women.",
        "Thresholds only apply to masks in the lesion table; all other tables use the most likely class.",
    ]
