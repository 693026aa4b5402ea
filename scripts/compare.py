"""Compare trained networks from the MLflow store: the paper's Tables 9 and 10 with intervals, charts and pictures.

    python -m scripts.compare [--dataset NAME] [--experiment_name NAME] [--tag KEY=VALUE] [--run NAME] [--out FOLDER]
    python -m scripts.compare --dataset_dir DATASET --predictions NAME=FOLDER [--crossval]

Each row is the latest run of a training stage on its validation subjects, or an evaluation with `--evaluations` or
another `--section`. Trainings that differ only in the seed share a row. Results are only compared if they were
scored on the same subjects of the same data. `--predictions` adds rows for label maps of another tool or a second
reader (docs/peers.md). Files written to the folder `comparison`, replacing those of an earlier comparison:

    index.html          one self-contained page, viewable from disk
    comparison.md       the tables, for a document
    comparison.csv      all scores with intervals, one row per model
    differences.csv     difference, interval, p and conclusion for each pair of models
    worst.csv           all images of all models, worst first, with the kind of error
    groups.csv          scores by group of images, and group_tests.csv, with --by or --attributes
    protocols.csv       the same predictions scored by published protocols, with --protocols
    subjects.csv        interval width by number of subjects scored, with --subjects_curve
    comparison.tex      the tables for LaTeX, with --latex; --figures svg or pdf: also vector figures
    transfer.csv        scores of models trained on one data set and tested on another, if any
    chart-NAME.png      bar chart of the scores per data set (the paper's Figures 5 and 6)
    froc-NAME.png       lesions found against false positives per image, if a class is a lesion
    pictures-NAME.png   the same images segmented by every model (Figure 8)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engines.scoring.draws import DRAWS, SEED
from scripts.commandline import run_app, without_collector
from scripts.comparison import command_options as shared
from transforms.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__)
def command(
    experiment_name: shared.ExperimentName = "mammoseg",
    dataset: Annotated[list[str] | None, typer.Option(help="Name or digest of a data set; may be repeated.")] = None,
    section: Annotated[
        str, typer.Option(help="Section of the data set: validation, or test, training or all from evaluations.")
    ] = "validation",
    evaluations: Annotated[bool, typer.Option("--evaluations", help="Evaluations instead of trainings.")] = False,
    tag: Annotated[list[str] | None, typer.Option(help="KEY=VALUE that the runs must have; may be repeated.")] = None,
    run: Annotated[list[str] | None, typer.Option(help="Name or id of a run or its training; may be repeated.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All runs instead of the latest per row.")] = False,
    cross: Annotated[bool, typer.Option("--crossval", help="Cross-validations instead of single trainings.")] = False,
    threshold_rule: Annotated[
        str | None,
        typer.Option("--threshold_rule", help="With --crossval: dice, mean_dice or 'fp<=1', chosen out of fold."),
    ] = None,
    attributes: shared.Attributes = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Attribute to group by: density, view, size, …; may be repeated. Tests whether groups differ."
        ),
    ] = None,
    protocols: Annotated[
        bool, typer.Option("--protocols", help="Also score the same predictions by published lesion protocols.")
    ] = False,
    subjects_curve: Annotated[
        bool, typer.Option("--subjects_curve", help="Also show the interval width by number of subjects scored.")
    ] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Also write the tables for LaTeX: comparison.tex.")] = False,
    figures: Annotated[
        list[str] | None, typer.Option(help="Also write vector figures: svg or pdf; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("comparison"),
    tracking_uri: shared.TrackingUri = None,
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FOLDER of label maps by case (PNG, NIfTI, .npy, DICOM SEG); a repeated NAME is another seed."
        ),
    ] = None,
    dataset_dir: Annotated[
        Path | None,
        typer.Option(
            "--dataset_dir", help="Dataset folder with the reference labels for --predictions, or attributes for --by."
        ),
    ] = None,
    lesion_class: Annotated[
        str | None,
        typer.Option("--lesion_class", help="Lesion class of --predictions. Default: as in the other rows."),
    ] = None,
    hit: Annotated[str | None, typer.Option(help="Hit rule of --predictions: iou, center or overlap.")] = None,
    min_lesion_size: Annotated[
        int | None, typer.Option("--min_lesion_size", min=0, help="Void lesions of --predictions with fewer pixels.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Score to rank rows by: dice/CLASS, mean_iou, lesion_sensitivity_at_1fp, mean_image_dice, …",
            show_default="Dice of the lesion class, else mean_iou",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(min=0, help="Largest difference between equivalent rows, in points."),
    ] = None,
    draws: Annotated[int, typer.Option(min=100, max=100_000, help="Bootstrap samples.")] = DRAWS,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the bootstrap samples.")] = SEED,
    register: Annotated[
        str | None,
        typer.Option(help="Register the rows' models as versions of this model; the best gets the alias best."),
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Images to show side by side.")] = 4,
    as_json: shared.AsJson = False,
) -> None:
    """Only the signature is used; the help is the module docstring."""
    if threshold_rule is not None and not cross:
        raise UserError("--threshold_rule: applies to cross-validations; also give --crossval")
    if bool(predictions) != bool(dataset_dir) and not (dataset_dir and by):
        raise UserError("--predictions and --dataset_dir: expected together; give both")
    from rich.console import Console

    from engines.records.mlflow_store import as_tracking_uri, default_tracking_uri, disable_telemetry
    from scripts.comparison.attribute_source import known_attributes
    from scripts.comparison.choice import Filters, comparable  # seconds: MLflow, matplotlib, torch
    from scripts.comparison.console_table import aligned, console
    from scripts.comparison.group_table import with_groups
    from scripts.comparison.peers.peer_choice import PeerOptions, chosen_with_peers
    from scripts.comparison.protocol_table import with_protocols
    from scripts.comparison.report import ReportOptions, by_dataset, write
    from scripts.comparison.subjects_curve import with_subjects_curve
    from scripts.comparison.table import compare, records
    from scripts.comparison.test_section import with_test_scores
    from scripts.comparison.transfer import transfer_heading, transfer_table, transfers

    disable_telemetry()
    uri = as_tracking_uri(tracking_uri) if tracking_uri else default_tracking_uri()
    kind = "evaluation" if evaluations or section != "validation" else "stage"
    filters = Filters(dataset or (), _tags(tag or ()), run or (), section, kind, cross, every, threshold_rule)
    options = ReportOptions(draws, seed, pictures, latex, figures or ())
    peers = PeerOptions(predictions or (), dataset_dir, lesion_class, hit, min_lesion_size)
    with chosen_with_peers(uri, experiment_name, filters, peers) as (store, results):
        comparisons = [compare(comparable(each), draws, seed, metric, margin) for each in by_dataset(results)]
        comparisons = with_test_scores(store, comparisons, draws, seed)
        if attributes is not None or by:
            known = known_attributes(results, attributes, dataset_dir, by or ())
            comparisons = with_groups(comparisons, known, draws, seed, out, metric)
        if protocols:
            comparisons = with_protocols(comparisons, draws, seed, out)
        moved = transfers(comparisons, draws, seed, metric)
        comparisons, curves = with_subjects_curve(comparisons, seed, metric) if subjects_curve else (comparisons, [])
        write(store, comparisons, out, options, moved, curves)
    said = []
    if register is not None:
        from scripts.comparison.registration import register as registered

        said = registered(uri, comparisons, register)
    if as_json:
        print(json.dumps([row for comparison in comparisons for row in records(comparison)], indent=1))
        return
    output = Console(highlight=False, soft_wrap=True)
    if moved:
        output.print(f"{transfer_heading(moved)}\n\n{aligned(transfer_table(moved))}\n", markup=False)
    for comparison in comparisons:
        output.print(console(comparison), markup=False)
        output.print()
    for sentence in said:
        output.print(sentence, markup=False)
    output.print(f"page  {(out / 'index.html').resolve()}", markup=False)


def _tags(given: Sequence[str]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise UserError(f"--tag {text}: expected KEY=VALUE")
    return dict(text.split("=", 1) for text in given)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error."""
    with without_collector():
        return run_app(app, "python -m scripts.compare", argv)


if __name__ == "__main__":
    raise SystemExit(main())
