"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _names

Slugs = Annotated[list[str] | None, _names.slug_argument(help="Submissions; default: all")]
Slug = Annotated[str, _names.slug_argument(help="A submission", show_default=False)]
DatasetOption = Annotated[
    str, _names.name_option(_names.datasets, help="A dataset: see `certboard list datasets`")
]
SomeDataset = Annotated[
    str | None, _names.name_option(_names.datasets, help="A dataset: see `certboard list datasets`")
]
NormOption = Annotated[str, _names.name_option(_names.norms, help="linf, l2 or l1")]
EvaluatorOption = Annotated[
    str | None,
    _names.name_option(
        _names.evaluators, help="One of `certboard list evaluators`; default: the cascade"
    ),
]
NoiseOption = Annotated[
    str | None,
    _names.name_option(
        _names.noises, help="Distribution of the noise: gaussian (default), laplace, …"
    ),
]
FirstExamples = Annotated[int | None, typer.Option(min=1, help="Only the first N test examples")]
Indices = Annotated[str | None, typer.Option(help="Only these test examples: 3,14,20-29 or @file")]
Seconds = Annotated[float, typer.Option(help="Time budget per example: processor time on a CPU")]
MaxRadius = Annotated[
    bool,
    typer.Option(
        "--max-radius",
        help="Find each example's largest radius up to --radius, within --seconds more",
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ignore stored rows and start from nothing")]
ResultsFolder = Annotated[
    Path | None, typer.Option(help="Store results here instead of in site/data/results")
]
Members = Annotated[
    list[Path] | None, typer.Option(help="A further network of an ensemble; repeatable")
]
ChannelsLast = Annotated[
    bool,
    typer.Option("--channels-last", help="The file's input has its channels last, as in Keras"),
]
InputShape = Annotated[
    str | None,
    typer.Option(help="Shape of the file's input without the batch dimension: 784 or 28,28"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda (all GPUs of one kind) or cuda:0,cuda:1")]
Workers = Annotated[str, typer.Option(help="Number of processes, 'ray' or 'slurm'")]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Limit of memory, such as 2GB, shared by all workers; also that of a GPU;"
        " default: what is available, up to 8 GiB per process"
    ),
]
Sandbox = Annotated[
    str, typer.Option(help="off, best (confine models as far as this machine can) or required")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else")]
