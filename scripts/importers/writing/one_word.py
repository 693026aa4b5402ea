"""Detection of subjects whose names differ only in one word, such as DM and CM: probably images of one woman."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

LONGEST, RECURRING, MOST = 4, 2, 6
"""Maximum characters of such a word; minimum subjects with the same words; maximum different words per position."""


def one_word_apart(subjects: Iterable[str]) -> str | None:
    """Describe subjects that differ only in a recurring word; None if there are none.

    Only keys made from file names ("path:…") are checked. The message quotes words, which must thus be short and recur.
    """
    groups: dict[tuple[int, tuple[str, ...]], set[str]] = defaultdict(set)
    for subject in {name for name in subjects if name.startswith("path:")}:
        words = re.split(r"[^0-9A-Za-z]+", subject.partition(":")[2].rpartition("/")[2])
        for place, word in enumerate(words):
            rest = (*words[:place], "", *words[place + 1 :])
            if word.isalpha() and len(word) <= LONGEST and any(rest):
                groups[place, rest].add(word.upper())
    apart: dict[frozenset[str], int] = defaultdict(int)
    for words_there in groups.values():
        if 1 < len(words_there) <= MOST:
            apart[frozenset(words_there)] += 1
    often = {names: count for names, count in apart.items() if count >= RECURRING}
    if not often:
        return None
    names, count = max(often.items(), key=lambda pair: pair[1])
    return (
        f"{count} times, subjects differ only in the word {' or '.join(sorted(names))} of their files' names: if "
        "it does not identify women, the images of one are taken for those of several, maybe in two sections; specify "
        "the identifying part, as in --subject '(P[0-9]+)_'"
    )
