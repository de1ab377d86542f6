"""Whatever is changed in a manifest or in a network's file: read, or refused in sentences."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.wire import too_much
from leaderboard.common.errors import InputError
from leaderboard.common.lookalikes import alike, skeleton
from leaderboard.common.project import Project
from leaderboard.common.strict_toml import read_toml
from leaderboard.common.text import check_line
from tests.fixtures.corpus.case import SLUG, good, submit
from tests.fixtures.project import problems_of_submission

pytestmark = pytest.mark.slow

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SIGNS = list("\"'[]{}=.,#\n\r\\\x00\u202e\ufeffé")
WORDS = ["[[", '"""', "1e999", "-nan", "0x", "2024-02-31", "true", "[claim]", "9" * 5000]
PIECES = st.sampled_from(SIGNS + WORDS)
EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 30), PIECES | st.text(max_size=8)), max_size=5
)


@FEW
@given(EDITS)
def test_an_edited_manifest_is_read_or_refused_in_sentences(
    edits: list[tuple[int, int, str]],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        project = Project(Path(root))
        path = submit(project) / "submission.toml"
        text = path.read_text(encoding="utf-8")
        for place, cut, piece in edits:
            at = place % (len(text) + 1)
            text = text[:at] + piece + text[at + cut :]
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        for sentence in problems_of_submission(project, SLUG):
            assert sentence.isprintable()
            assert "(rule " in sentence


@FEW
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "x.toml"
        path.write_bytes(content)
        with suppress(InputError):
            read_toml(path, "x.toml")


BYTES = good().SerializeToString()
CHANGES = st.lists(
    st.tuples(st.integers(0, len(BYTES)), st.integers(0, 6), st.binary(max_size=6)),
    min_size=1,
    max_size=4,
)


@FEW
@given(CHANGES)
def test_an_edited_network_is_read_or_refused_in_sentences(
    changes: list[tuple[int, int, bytes]],
) -> None:
    data = BYTES
    for place, cut, piece in changes:
        data = data[:place] + piece + data[place + cut :]
    _read_or_refuse(data)


KINDS = "Relu Gemm Conv Pad Reshape Concat Slice MaxPool Identity Split Cast Loop Sum ReduceMean"
NAMES = st.sampled_from(["x", "flat", "hidden", "bent", "y", "w1", "b1", "w2", "", "nowhere"])
NUMBERS = st.integers(-(2**40), 2**40) | st.integers(-3, 9)


@st.composite
def nodes(draw: st.DrawFn) -> onnx.NodeProto:
    attributes: dict[str, Any] = {
        name: draw(st.lists(NUMBERS, min_size=1, max_size=4))
        for name in draw(st.sets(st.sampled_from(["pads", "strides", "kernel_shape", "axes"])))
    }
    return onnx.helper.make_node(
        draw(st.sampled_from(KINDS.split())),
        draw(st.lists(NAMES, max_size=3)),
        draw(st.lists(NAMES, min_size=1, max_size=2)),
        **attributes,
    )


@FEW
@given(st.lists(st.tuples(st.integers(0, 4), nodes()), min_size=1, max_size=3), st.booleans())
def test_a_network_with_other_nodes_is_read_or_refused(
    added: list[tuple[int, onnx.NodeProto]], replace: bool
) -> None:
    proto = good()
    for place, each in added:
        if replace and place < len(proto.graph.node):
            proto.graph.node[place].CopyFrom(each)
        else:
            proto.graph.node.insert(place, each)
    _read_or_refuse(proto.SerializeToString())


def _read_or_refuse(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "m.onnx"
        path.write_bytes(data)
        try:
            assert import_onnx(path).classes >= 1
        except UnsupportedModelError as error:
            for sentence in error.problems:
                assert sentence.isprintable()
                assert "(rule onnx-" in sentence


@FEW
@given(st.binary(max_size=300))
def test_bytes_are_counted_or_are_no_message(data: bytes) -> None:
    try:
        told = too_much(data)
    except ValueError:
        return
    assert told is None or "nested" in told


@given(CHANGES)
@FEW
def test_what_the_parser_reads_the_count_reads_too(changes: list[tuple[int, int, bytes]]) -> None:
    data = BYTES
    for place, cut, piece in changes:
        data = data[:place] + piece + data[place + cut :]
    try:
        too_much(data)
    except ValueError as error:
        if "group" not in str(error):
            with pytest.raises(Exception, match=r"(?i)pars"):
                onnx.load_model_from_string(data)


def _problem(line: str) -> str:
    try:
        check_line(line)
    except ValueError as problem:
        return str(problem)
    return ""


def test_plain_text_is_judged_as_if_all_rules_were_tried() -> None:
    """A word with an accent spares a line none of them."""
    lines = [f"a{chr(point)}b" for point in range(0x400)]
    quick = [_problem(line) for line in lines]
    assert [_problem(f"{line} \u00e9") for line in lines] == quick
    assert quick.count("") > 0x7F - ord(" ")


@given(st.text(max_size=30))
def test_a_skeleton_is_its_own(line: str) -> None:
    assert skeleton(skeleton(line)) == skeleton(line)
    assert list(alike({"a": line, "b": line})) == [("b", "a")]
