"""The command that answers VNN-COMP's question: verify."""

import math
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from typer import BadParameter

from leaderboard.commands import app
from leaderboard.common.errors import InputError
from leaderboard.common.progress import tell
from leaderboard.vnncomp.deadline import Verifier
from leaderboard.vnncomp.instance import Answer, Instance, Word
from leaderboard.vnncomp.instances import DEFAULT_SECONDS, ResultsFile, Row, read_instances


@app.command()
def verify(
    model: Annotated[Path | None, typer.Argument(help="An ONNX network")] = None,
    specification: Annotated[Path | None, typer.Argument(help="A VNN-LIB property")] = None,
    instances: Annotated[
        Path | None, typer.Option(help="Instead: a table of onnx,vnnlib,timeout")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time for everything; default: 60, or the table's")
    ] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="`certboard list evaluators`; default: the cascade")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file for the answer; of a table: results.csv")
    ] = None,
) -> None:
    """Answer a VNN-LIB property: unsat, sat with a counterexample, unknown or timeout."""
    started = time.monotonic()
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"--seconds is {seconds:g}; it must be positive and finite.")
    if instances is not None and model is None:
        _verify_table(instances, seconds, evaluator, output or Path("results.csv"))
    elif instances is None and model is not None and specification is not None:
        instance = Instance(model, specification, evaluator)
        _verify_one(instance, started + (seconds or DEFAULT_SECONDS), output)
    else:
        raise BadParameter("Give either a model and a property, or --instances")


def _verify_one(instance: Instance, deadline: float, output: Path | None) -> None:
    try:
        with Verifier() as verifier:
            answer = verifier.ask(instance, deadline)
        if answer.word is Word.ERROR:
            raise InputError(f"{instance.model.name}: {answer.note}.")
    except InputError:
        _publish(Word.ERROR, output)
        raise
    _publish(_text(answer), output)
    if answer.note:
        tell(f"certboard: {answer.note}.")


def _text(answer: Answer) -> str:
    """VNN-COMP's answer: the word, then the counterexample."""
    if answer.counterexample is None:
        return answer.word
    return f"{answer.word}\n{answer.counterexample.text()}"


def _publish(text: str, output: Path | None) -> None:
    """Print an answer, and write it to a file if there is one."""
    print(text, flush=True)
    if output is not None:
        _write(output, text)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def _verify_table(table: Path, seconds: float | None, evaluator: str | None, output: Path) -> None:
    """Answer row by row; each is stored when it is there."""
    rows = read_instances(table, seconds)
    results = ResultsFile(output, table.resolve().parent.name)
    waiting = list(results.remaining(rows))
    if len(waiting) < len(rows):
        tell(f"{len(rows) - len(waiting)} of {len(rows)} are in {output} already")
    began = time.monotonic()
    with Verifier() as verifier:
        for row in waiting:
            number = len(rows) - len(waiting) + 1 + waiting.index(row)
            started = time.monotonic()
            answer = _answer_row(verifier, table, row, evaluator)
            spent = time.monotonic() - started
            if answer.counterexample is not None:
                _write(
                    output.parent / "counterexamples" / row.file_name, answer.counterexample.text()
                )
            results.add(row, answer.word, spent)
            note = f" ({answer.note})" if answer.note else ""
            tell(f"{number}/{len(rows)} {row.title}: {answer.word} in {spent:.1f} s{note}")
    _summarize(results, len(rows), time.monotonic() - began)


def _answer_row(verifier: Verifier, table: Path, row: Row, evaluator: str | None) -> Answer:
    """The answer to one row; files that cannot be used are its own error."""
    instance = Instance(table.parent / row.onnx, table.parent / row.vnnlib, evaluator)
    try:
        return verifier.ask(instance, time.monotonic() + row.seconds)
    except InputError as error:
        return Answer(Word.ERROR, note=" ".join(error.problems).rstrip("."))


def _summarize(results: ResultsFile, rows: int, seconds: float) -> None:
    counts = Counter(results.words)
    listed = ", ".join(f"{counts[word]} {word}" for word in Word)
    print(f"{rows} instances: {listed}, {seconds:.1f} s, in {results.path}")
    if counts[Word.ERROR]:
        raise InputError(
            f"{counts[Word.ERROR]} of {rows} instances could not be answered; their lines above"
            " say why."
        )
