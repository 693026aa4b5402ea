"""`scripts.prepare export-nnunet`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def export_nnunet(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder with labels.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that gets nnUNet_raw and nnUNet_preprocessed.")],
    folds: Annotated[
        int | None, typer.Option(help="Number of folds, as in scripts.crossval. Default: the data set's validation.")
    ] = None,
    fold_seed: Annotated[int, typer.Option("--fold_seed", min=0, help="Seed of the folds, see scripts.crossval.")] = 0,
    folds_file: Annotated[
        Path | None, typer.Option("--folds_file", help="CSV file with the columns subject and fold.")
    ] = None,
    number: Annotated[int, typer.Option(min=1, max=999, help="Number of the data set in nnU-Net.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Export the same images, labels and folds for nnU-Net; scripts.compare reads its predictions."""
    from scripts.crossvalidation.folds import read_folds, trained_subjects
    from scripts.importers.writing.nnunet import export_nnunet as write_nnunet
    from scripts.importers.writing.split import folds_of
    from transforms.dataset import Dataset
    from transforms.errors import UserError

    if folds is not None and folds_file is not None:
        raise UserError("--folds and --folds_file: specify only one of them")
    subjects = trained_subjects(Dataset.load(dataset))
    dealt = None if folds is None else folds_of(subjects, folds, fold_seed)
    if folds_file is not None:
        dealt = read_folds(folds_file, subjects)
    written = write_nnunet(dataset, out, dealt, number, progress=not quiet)
    if as_json:
        print(json.dumps(written, indent=1))
        return
    print(f"{written['training']} training images, {written['test']} test images: {written['raw']}")
    print(f"{written['folds']} folds: {written['splits']}")
