"""Cross-validate bundles in k folds: every subject is scored once, by a network trained without it.

    python -m scripts.crossval BUNDLE… [--folds 5] [--seeds 0,1,2] [--dataset_dir DATASET] [--out FOLDER] [any option]

Subjects of the training and validation sections are split into folds at random (--fold_seed) or by --folds_file, a CSV
file with the columns subject and fold (a number, or test for no fold). All bundles and seeds use the same folds.
Each fold is a separate training (`OUT/fold-1`, …; with several bundles or seeds `OUT/BUNDLE-seed-SEED/fold-1`, …) and
a child MLflow run of its cross-validation. --jobs trains several folds at once, --cluster submits them as cluster jobs.
Repeating the command resumes: finished folds are skipped, an interrupted one continues. The final table covers all
subjects; with at least three seeds it states which bundle is better. --train_shares 0.25,0.5,1 repeats the
cross-validation with fractions of the training subjects and reports the learning curve. `python -m scripts.compare
--crossval` writes the comparison page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.commandline import run_app
from scripts.comparison import command_options as shared
from transforms.errors import UserError
from transforms.plain_text import one_line

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def command(
    context: typer.Context,
    bundles: Annotated[list[str], typer.Argument(metavar="BUNDLE…", help="Names of folders in bundles/.")],
    folds: Annotated[int | None, typer.Option(help="Number of folds.", show_default="5")] = None,
    folds_file: Annotated[
        Path | None,
        typer.Option("--folds_file", "--split", help="CSV file with columns subject, fold. Default: random folds."),
    ] = None,
    test: Annotated[
        float, typer.Option(min=0, max=0.9, help="Fraction of subjects kept out of all folds, for a final test.")
    ] = 0.0,
    dataset_dir: Annotated[
        Path | None, typer.Option("--dataset_dir", help="Dataset folder. Default: the synthetic sample.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for folds and trainings.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="Training seeds: 0,1,2.", show_default="--seed")] = None,
    fold_seed: Annotated[
        int | None, typer.Option("--fold_seed", min=0, help="Random seed for the folds.", show_default="--seed")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Concurrent trainings.", show_default="1; on SLURM all")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Run trainings as submitit jobs: slurm, or local (this machine).")
    ] = None,
    cluster_option: Annotated[
        list[str] | None,
        typer.Option("--cluster_option", help="KEY=VALUE for submitit, such as slurm_partition=gpu; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: in outputs/crossval.")] = None,
    tracking_uri: shared.TrackingUri = None,
    experiment_name: shared.ExperimentName = "mammoseg",
    threshold_rule: shared.ThresholdRule = None,
    attributes: shared.Attributes = None,
    train_shares: Annotated[
        str | None,
        typer.Option(
            "--train_shares", help="Learning curve: train on these fractions of the subjects, such as 0.25,0.5,1."
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Score of the learning curve.", show_default="as in scripts.compare")
    ] = None,
    figures: Annotated[
        list[str] | None, typer.Option(help="Also write the learning curve as svg or pdf; may be repeated.")
    ] = None,
    as_json: shared.AsJson = False,
) -> None:
    """Only the signature is used; the help is the module docstring."""
    from scripts.crossvalidation.at_once import Place  # seconds: MLflow, torch, MONAI
    from scripts.crossvalidation.run import cross_validate

    names, options = _words([*bundles, *context.args])
    if cluster_option and cluster is None:
        raise UserError("--cluster_option: applies to cluster jobs; also give --cluster")
    place = Place(jobs, cluster, dict(_pair(text) for text in cluster_option or ()))
    how: dict[str, Any] = {
        "folds": folds,
        "folds_file": folds_file,
        "dataset_dir": dataset_dir,
        "seeds": [seed] if seeds is None else _seeds(seeds),
        "fold_seed": seed if fold_seed is None else fold_seed,
        "threshold_rule": threshold_rule,
        "options": options,
        "place": place,
        "test": test,
        "attributes": attributes,
        "out": out,
        "tracking_uri": tracking_uri,
        "experiment_name": experiment_name,
    }
    if train_shares is not None:
        _learning_curve(names, train_shares, {**how, "metric": metric, "figures": figures or ()}, as_json)
        return
    if metric or figures:
        raise UserError("--metric and --figures: apply to the learning curve; also give --train_shares")
    with shared.resumed_by_repeating():
        comparison = cross_validate(names, **how)
    shared.print_table(comparison, as_json)


def _learning_curve(names: Sequence[str], shares: str, how: dict[str, Any], as_json: bool) -> None:
    """Train one network on training sets of several sizes."""
    from scripts.comparison.report import VECTORS
    from scripts.crossvalidation.learning_curve import checked_shares, curve_record, learning_curve, sentences

    if len(names) > 1 or len(how["seeds"]) > 1:
        raise UserError("--train_shares: expected one bundle and one seed; run the command once for each")
    unknown = [name for name in how["figures"] if name not in VECTORS]
    if unknown:
        raise UserError(f"--figures {one_line(unknown[0])}: unknown; choose from {', '.join(VECTORS)}")
    with shared.resumed_by_repeating():
        curve = learning_curve(names[0], checked_shares(shares), **how)
    print(json.dumps(curve_record(curve), indent=1) if as_json else "\n".join(sentences(curve)))


def _words(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into bundles, which come first, and training options."""
    first = next((number for number, word in enumerate(given) if word.startswith("-")), len(given))
    names = list(given[:first])
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise UserError(f"{one_line(twice)}: given twice; name every bundle once")
    if not names:
        raise UserError(f"{one_line(given[0])}: expected a bundle first; name the bundles before the options")
    return names, list(given[first:])


def _seeds(text: str) -> list[int]:
    words = text.split(",")
    if not all(re.fullmatch("[0-9]{1,18}", word) for word in words) or len(set(map(int, words))) < len(words):
        raise UserError(f"--seeds {one_line(text)}: expected distinct integers of at least 0, such as 0,1,2")
    return [int(word) for word in words]


def _pair(text: str) -> tuple[str, str | int]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UserError(f"--cluster_option {one_line(text)}: expected KEY=VALUE, such as slurm_partition=gpu")
    return key, int(value) if re.fullmatch("[0-9]{1,18}", value) else value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.crossval", argv)


if __name__ == "__main__":
    raise SystemExit(main())
