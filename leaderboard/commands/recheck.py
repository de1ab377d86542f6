"""`certboard recheck`: verdicts, trusted from nobody."""

from pathlib import Path
from typing import Annotated

import typer
from typer import BadParameter

from leaderboard.commands import _names, _options
from leaderboard.common.memory import uncollected
from leaderboard.submissions.noises import RULES


def command(
    subject: Annotated[
        str,
        typer.Argument(
            help="A submission, a result file (.parquet) or a model (.onnx)", show_default=False
        ),
    ],
    evidence: Annotated[
        Path | None,
        typer.Argument(
            help="The .evidence file of a model, or of a result file that is not smoothed"
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        _names.name_option(_names.settings, help="Recheck a submission in these settings only"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The ONNX file of a result file; default: the submission's")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Store the proofs beside the result file")
    ] = False,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Recheck proofs in exact fractions, however long it takes"),
    ] = False,
    redraw: Annotated[
        int | None,
        typer.Option(min=1, help="Draw the samples of K random examples of a smoothed model again"),
    ] = None,
    member: Annotated[
        list[Path] | None,
        typer.Option(help="For --redraw: a further network of an ensemble; repeatable"),
    ] = None,
    rule: Annotated[
        str, _names.name_option(_names.rules, help="For --redraw: how the ensemble votes")
    ] = RULES[0],
    denoiser: Annotated[
        Path | None, typer.Option(help="For --redraw: the denoiser in front of the model")
    ] = None,
    dataset: Annotated[
        str | None,
        _names.name_option(
            _names.datasets, help="For --redraw: the dataset; default: that of the rows"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed that selects the examples for --redraw")
    ] = None,
    device: Annotated[str, typer.Option(help="For --redraw: the device, as for `certify`")] = "cpu",
    as_json: _options.Json = False,
) -> None:
    """Check verdicts again, without the code that produced them.

    \b
    Examples:
      certboard recheck my-net --setting mnist-linf-0.1
      certboard recheck net.onnx proofs.evidence
    """
    with uncollected():
        from leaderboard.recheck import report

    about = report.kind_of(subject)
    if about is report.Subject.MODEL:
        if evidence is None:
            raise BadParameter("Name what proves something about it: the file of its evidence")
        if redraw is not None or model is not None or save or setting:
            raise BadParameter("--redraw, --model, --save and --setting are for results")
    elif about is report.Subject.SUBMISSION:
        if evidence is not None or model is not None or redraw is not None:
            raise BadParameter("A submission is rechecked by its name; name nothing after it")
    elif setting:
        raise BadParameter("--setting is for submissions")
    elif about is report.Subject.SMOOTHED:
        if evidence is not None or save:
            raise BadParameter("A smoothed model's evidence is in its rows")
        if (redraw is None) != (model is None):
            raise BadParameter("--redraw K needs --model, and --model needs --redraw K")
    elif redraw is not None:
        raise BadParameter("--redraw is for smoothed models; a proof has nothing to draw")
    asked = report.RecheckRequest(
        evidence=evidence,
        settings=setting or (),
        model=model,
        save=save,
        exact=True if exact else None,
        redraw=redraw,
        seed=seed,
        members=tuple(member or ()),
        rule=rule,
        denoiser=denoiser,
        dataset=dataset,
        device=device,
        as_json=as_json,
    )
    report.recheck(subject, asked)
