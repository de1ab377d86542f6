"""`certboard export`: a PyTorch module as an ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _options
from leaderboard.common.errors import InputError
from leaderboard.common.memory import uncollected


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="file.py:name or package.module:name of a torch.nn.Module, or an ONNX file"
        ),
    ],
    dataset: _options.DatasetOption,
    output: Annotated[Path, typer.Option(help="The ONNX file to write")] = Path("model.onnx"),
    weights: Annotated[Path | None, typer.Option(help="A state dict to load")] = None,
    mean: Annotated[str | None, typer.Option(help="Normalise by these channel means")] = None,
    std: Annotated[
        str | None, typer.Option(help="Normalise by these channel standard deviations")
    ] = None,
    channels_last: _options.ChannelsLast = False,
    input_shape: _options.InputShape = None,
) -> None:
    """Export your own PyTorch module to ONNX, or merge an ONNX model into one file; check it.

    \b
    Examples:
      certboard export net.py:model --dataset cifar10 --output net.onnx
      certboard export saved.onnx --dataset mnist --input-shape 784 --output net.onnx
    """
    with uncollected():
        from leaderboard.evaluation.export import export

    made = export(
        source,
        dataset,
        output,
        weights=weights,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        channels_last=channels_last,
        input_shape=input_shape,
    )
    differ = "" if made.difference is None else f"; logits differ by at most {made.difference:.2g}"
    print(f"{made.path}: fits {dataset}{differ}")
    print(f"sha256 {made.sha256}")
    if made.accuracy is None:
        print(f"Accuracy is not known: there is no {dataset} here; try: certboard data fetch")
        return
    print(f"{made.accuracy:.0f} % of the first {made.examples} test examples are right")
    if made.little:
        print("That is little: pixels come in [0, 1]; does the network need --mean and --std?")


def _numbers(name: str, text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{name} is '{text}'; it must be numbers such as 0.49,0.48,0.45."
        ) from None
