"""Answers to instances as `certboard verify` gives them: printed, and written as VNN-COMP wants."""

import math
import time
from collections import Counter
from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.places import alone, check_writable
from leaderboard.common.progress import tell
from leaderboard.vnncomp.deadline import Verifier
from leaderboard.vnncomp.instance import Answer, Instance, Word
from leaderboard.vnncomp.instances import DEFAULT_SECONDS, InstanceRow, ResultsFile, read_instances
from leaderboard.vnncomp.subject import subject_of


def verify_one(instance: Instance, seconds: float | None, output: Path | None) -> None:
    """Print the answer to one instance, and write it to a file if there is one.

    Raises:
        InputError: the files or the seconds cannot be used, or the answer cannot be written.
    """
    started = time.monotonic()
    _check_seconds(seconds)
    if output is not None:
        check_writable(output)
    try:
        with Verifier() as verifier:
            answer = verifier.ask(instance, started + (seconds or DEFAULT_SECONDS))
        if answer.word is Word.ERROR:
            raise InputError(f"{instance.model.name}: {answer.note}.")
    except InputError:
        _publish(Word.ERROR, output)
        raise
    _publish(_text(answer), output)
    if answer.note:
        tell(f"certboard: {answer.note}.")


def _check_seconds(seconds: float | None) -> None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"--seconds is {seconds:g}; it must be positive and finite.")


def _text(answer: Answer) -> str:
    """VNN-COMP's answer: the word, then the counterexample."""
    return "\n".join(part for part in (answer.word, answer.counterexample) if part)


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


def verify_table(table: Path, seconds: float | None, evaluator: str | None, output: Path) -> None:
    """Answer a table of instances row by row, each stored when it is there; print a summary.

    Raises:
        InputError: the table or the seconds cannot be used, or some rows could not be answered.
    """
    _check_seconds(seconds)
    rows = read_instances(table, seconds)
    check_writable(output)
    with alone(output):
        _answer_rows(table, rows, evaluator, output)


def _answer_rows(table: Path, rows: list[InstanceRow], evaluator: str | None, output: Path) -> None:
    def subject(row: InstanceRow) -> str:
        return subject_of(instance_of(table, row, evaluator))

    results = ResultsFile(output, table.resolve().parent.name, subject)
    there = len(results.words)
    waiting = results.remaining(rows)
    if gone := there - len(results.words):
        tell(f"{output}: {plural(gone, 'result')} of other files or code will be answered again")
    if len(waiting) < len(rows):
        tell(f"{len(rows) - len(waiting)} of {len(rows)} are in {output} already")
    began = time.monotonic()
    with Verifier(restarts=True) as verifier:
        for row in waiting:
            number = len(rows) - len(waiting) + 1 + waiting.index(row)
            verifier.ready()
            started = time.monotonic()
            answer = _answer_row(verifier, table, row, evaluator)
            spent = time.monotonic() - started
            if answer.counterexample:
                path = output.parent / "counterexamples" / row.file_name
                _write(path, answer.counterexample)
            results.add(row, answer.word, spent)
            note = f" ({answer.note})" if answer.note else ""
            tell(f"{number}/{len(rows)} {row.title}: {answer.word} in {spent:.1f} s{note}")
    _summarize(results, len(rows), time.monotonic() - began)


def instance_of(table: Path, row: InstanceRow, evaluator: str | None) -> Instance:
    """What a row of a table asks: its paths are relative to the table."""
    return Instance(table.parent / row.onnx, table.parent / row.vnnlib, evaluator)


def _answer_row(verifier: Verifier, table: Path, row: InstanceRow, evaluator: str | None) -> Answer:
    """The answer to one row; files that cannot be used are its own error."""
    try:
        return verifier.ask(instance_of(table, row, evaluator), time.monotonic() + row.seconds)
    except InputError as error:
        return Answer(Word.ERROR, note=" ".join(error.problems).rstrip("."))


def _summarize(results: ResultsFile, rows: int, seconds: float) -> None:
    counts = Counter(results.words)
    listed = ", ".join(f"{counts[word]} {word}" for word in Word)
    many = "instance" if rows == 1 else "instances"
    print(f"{rows} {many}: {listed}, {seconds:.1f} s, in {results.path}")
    if counts[Word.ERROR]:
        raise InputError(
            f"{counts[Word.ERROR]} of {rows} instances could not be answered; their lines above"
            " say why."
        )
