"""Classes of a label map and their precedence in overlaps: names, merging, ranking and task.

Source: the paper, section 3.1.2 and its Table 7 ("The ranking above indicates the different anatomical regions …").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transforms.errors import UserError
from transforms.vocabulary import is_tumor, plain

# Highest rank first: the tumor region, then the non-tumor regions from top to bottom, in the form of `plain`
TABLE_7 = (
    "tumor",
    "nipple",
    "areola",
    "calcification",
    "skin",
    "thick vessel",
    "pectoral muscle",
    "axillary lymph node",
    "calcified vessel",
    "text",
    "submammary tissue",
    "foreign object",
    "mammary gland",
    "background",
)
TASKS = ("anatomy", "tumor")
TUMOR_TASK = ("non-tumor", "tumor")


@dataclass(frozen=True)
class ClassTable:
    """Class names, ids and precedence.

    Attributes:
        names: class names; the position is the class id.
        merge: annotation class to the class that it is merged into, with that class's precedence.
        order: class ids from the first painted to the last, which wins.
        known: class ids of all known annotation classes.
        binary: whether the classes are tumor and the rest.
    """

    names: tuple[str, ...]
    merge: Mapping[str, str]
    order: tuple[int, ...]
    known: Mapping[str, int]
    binary: bool = False

    @classmethod
    def make(
        cls,
        names: Sequence[str],
        merge: Mapping[str, str],
        precedence: Sequence[str] | None = None,
        task: str = "anatomy",
    ) -> ClassTable:
        """Check the names for consistency and build the table.

        Args:
            precedence: class names, highest precedence first; omitted classes follow in their default order: that
                of Table 7 if it contains all of `names`, else the last of `names` wins.
            task: "anatomy" keeps all classes, "tumor" two: the tumor and the rest.
        """
        if len(names) < 2 or len(set(names)) != len(names) or not all(names):
            raise UserError(
                f"--classes {','.join(names)!r}: expected two or more different names, the first of "
                "them for pixels without annotation"
            )
        if len(names) > 255:
            raise UserError(f"--classes names {len(names)} classes; label maps hold at most 255")
        wrong = sorted({*merge.values(), *(precedence or ())} - set(names))
        if wrong:
            raise UserError(
                f"{', '.join(wrong)}: not among --classes {', '.join(names)}; correct --merge or --precedence"
            )
        both = sorted(set(merge) & set(names))
        if both:
            raise UserError(f"{', '.join(both)}: both in --classes and in --merge; remove it from one")
        known = {name: label for label, name in enumerate(names)}
        known |= {name: known[target] for name, target in merge.items()}
        if task_is_tumor(task):
            flags = tumor_flags(names)
            return cls(TUMOR_TASK, dict(merge), (0, 1), {name: flags[label] for name, label in known.items()}, True)
        first = [names.index(name) for name in dict.fromkeys(precedence or ())]
        rest = [label for label in _usual_order(names) if label not in first]
        return cls(tuple(names), dict(merge), (*rest, *reversed(first)), known)

    def ids(self, path: Path, found: Sequence[str]) -> Mapping[str, int]:
        """Return the id of each known class name; raise UserError if the file holds unknown ones."""
        unknown = sorted(set(found) - set(self.known))
        if unknown:
            first = next(iter(self.known))
            raise UserError(
                f"{path}: holds the unknown class{'es' if len(unknown) > 1 else ''} {', '.join(unknown)}; known "
                f'are {", ".join(self.known)}; add to --classes, or to --merge as "{unknown[0]}={first}"'
            )
        return self.known


def _usual_order(names: Sequence[str]) -> list[int]:
    """Return ids from the lowest rank to the highest: by Table 7 if it has all names, else in the listed order."""
    ranks = ["tumor" if is_tumor(name) else plain(name) for name in names]
    if set(ranks) <= set(TABLE_7):
        return sorted(range(len(names)), key=lambda label: (-TABLE_7.index(ranks[label]), label))
    return list(range(len(names)))


def fixed_table(
    names: Sequence[str],
    merge: Mapping[str, str] | None = None,
    precedence: Sequence[str] | None = None,
    task: str = "anatomy",
    aliases: Mapping[str, str] | None = None,
) -> ClassTable:
    """Return the table of a format whose classes are known; --merge removes classes from it.

    Args:
        merge, precedence: names in any spelling that `plain` maps to the same form.
        aliases: other names that occur in the files, to the class they mean; `merge` takes precedence.
    """
    aliases = aliases or {}
    spelling = {plain(name): name for name in (*aliases, *names)}
    wanted = {spelling.get(plain(old), old): spelling.get(plain(new), new) for old, new in (merge or {}).items()}
    first = [spelling.get(plain(name), name) for name in precedence or ()]
    kept = [name for name in names if name not in wanted]
    for option, given, allowed in (
        ("--merge", wanted, spelling.values()),
        ("--merge", wanted.values(), kept),
        ("--precedence", first, kept),
    ):
        wrong = [name for name in given if name not in allowed]
        if wrong:
            raise UserError(f"{option}: {', '.join(wrong)} is not among the classes {', '.join(allowed)}; correct it")
    targets = {name: wanted.get(name, wanted.get(target, target)) for name, target in aliases.items()}
    return ClassTable.make(kept, {**wanted, **targets}, first, task)


def task_is_tumor(task: str) -> bool:
    """Whether the task is "tumor"; raise UserError if it is neither that nor "anatomy"."""
    if task not in TASKS:
        raise UserError(f"--task is {task!r}; expected {' or '.join(TASKS)}")
    return task == "tumor"


def tumor_flags(names: Sequence[str]) -> list[int]:
    """Return 1 for each tumor class, 0 for the rest; raise UserError if one of the two would be empty."""
    flags = [int(is_tumor(name)) for name in names]
    if not 0 < sum(flags) < len(flags):
        what = "none" if not any(flags) else "each"
        raise UserError(
            f"--task tumor: {what} of the classes {', '.join(names)} is called tumor, cancer, mass or lesion; "
            "expected such a name for the tumor only"
        )
    return flags
