"""Split by subject: reproducible on every machine for a given seed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

from transforms.errors import UserError


def validation_groups(groups: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Choose round(fraction * n) of n groups, at least one and not all.

    The order is that of SHA-256 over seed and name, which no library version changes.

    Raises:
        UserError: fewer than two groups, or a fraction that leaves one side empty.
    """
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    if not 0.0 < fraction < 1.0:
        raise UserError(f"--validation is {fraction:g}; expected a share between 0 and 1, such as 0.3")
    if len(names) < 2:
        raise UserError(
            f"only {len(names)} subject{'s' * (not names)} with labels: nothing is left for validation; add subjects, "
            "identify them with --subject, or specify --split_by image"
        )
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    return set(names[:count])


def folds_of(groups: Iterable[str], count: int, seed: int) -> list[list[str]]:
    """Distribute n groups among `count` folds, whose sizes differ by at most one: each group is in exactly one.

    The order is that of SHA-256 over seed and name, as in `validation_groups`; the order of `groups` does not matter.

    Raises:
        UserError: fewer than two folds, or more than there are groups.
    """
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    if not 2 <= count <= len(names):
        raise UserError(f"--folds {count}: expected 2 to {len(names)}, the number of subjects with labels")
    return [sorted(names[fold::count]) for fold in range(count)]


def held_out_groups(groups: Iterable[str], share: float, seed: int, taken: Collection[str] = ()) -> set[str]:
    """Choose round(share * n) of n groups for the test section, at least one, among those not taken.

    They follow those of `validation_groups` in the same order: a test section does not change the validation section.

    Raises:
        UserError: nothing is left.
    """
    every = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    free = [name for name in every if name not in taken]
    count = max(1, round(share * len(every))) if share else 0
    if count >= len(free) and count:
        raise UserError(f"--test {share:g}: leaves none of {len(every)} subjects for training; specify a smaller share")
    return set(free[:count])


def sections_of(
    groups: Sequence[str], prescribed: Sequence[str | None], fraction: float, seed: int, test: float = 0.0
) -> list[str]:
    """Return the section of each image: as prescribed, else drawn for all images of a group together.

    Args:
        groups: subject of each image, or a unique name per image to draw images individually.
        prescribed: section of each image ("training", "validation", "test"), or None to draw it.
        fraction, test: shares of the groups to draw for validation and test.
    """
    free = [group for group, section in zip(groups, prescribed, strict=True) if section is None]
    chosen = validation_groups(free, fraction, seed) if free else set()
    tested = held_out_groups(free, test, seed, chosen)
    return [
        section or ("validation" if group in chosen else "test" if group in tested else "training")
        for group, section in zip(groups, prescribed, strict=True)
    ]
