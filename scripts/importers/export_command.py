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
        int | None, typer.Option(help="Folds as scripts.crossval deals them. Default: the data set's own validation.")
    ] = None,
    fold_seed: Annotated[int, typer.Option("--fold_seed", min=0, help="Of the folds, as in scripts.crossval.")] = 0,
    folds_file: Annotated[
        Path | None, typer.Option("--folds_file", help="CSV file with the columns subject and fold, as there.")
    ] = None,
    number: Annotated[int, typer.Option(min=1, max=999, help="Of the data set in nnU-Net.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """The same images, labels and folds in nnU-Net's layout; its predictions come back by scripts.compare."""
    from scripts.crossvalidation.folds import read_folds, trained_subjects
    from scripts.importers.writing.nnunet import export_nnunet as write_nnunet
    from scripts.importers.writing.split import folds_of
    from transforms.dataset import Dataset
    from transforms.errors import UserError

    if folds is not None and folds_file is not None:
        raise UserError("--folds and --folds_file: give one of them")
    subjects = trained_subjects(Dataset.load(dataset))
    dealt = None if folds is None else folds_of(subjects, folds, fold_seed)
    if folds_file is not None:
        dealt = read_folds(folds_file, subjects)
    written = write_nnunet(dataset, out, dealt, number, progress=not quiet)
    if as_json:
        print(json.dumps(written, indent=1))
        return
    print(f"{written['training']} images to train with, {written['test']} test images: {written['raw']}")
    print(f"{written['folds']} folds: {written['splits']}")
