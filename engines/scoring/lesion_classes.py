"""Classes whose objects are lesions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.vocabulary import is_lesion


def lesion_classes(class_names: Sequence[str], wanted: str | Sequence[str] | None = None) -> list[int]:
    """Return the numbers of the classes whose objects are lesions.

    Args:
        wanted: one or more class names, as a list or separated by commas; "none" for no class; None for those that
            `transforms.vocabulary` lists as lesions.

    Raises:
        UserError: one of them is not a class.
    """
    if wanted is None:
        return [number for number, name in enumerate(class_names) if is_lesion(name)]
    if not isinstance(wanted, Collection):
        wanted = str(wanted)  # a command line reads the class "1" as a number
    if isinstance(wanted, str):
        wanted = [wanted] if wanted in class_names else [name.strip() for name in wanted.split(",")]
    if list(wanted) == ["none"]:
        return []
    for name in wanted:
        if name not in class_names:
            raise UserError(f"--lesion_class {name}: unknown class; choose from {', '.join(class_names)}, none")
    return sorted({list(class_names).index(name) for name in wanted})


def classes_but_lesions(data: Dataset, wanted: str | Sequence[str] | None = None) -> list[int]:
    """Return the numbers of the non-lesion classes, most frequent first; without a lesion, the two most frequent.

    Args:
        wanted: see `lesion_classes`.
    """
    lesions = lesion_classes(data.class_names, wanted)
    return [c for c in data.ubiquitous(data.num_classes) if c not in lesions] if lesions else data.ubiquitous(2)
