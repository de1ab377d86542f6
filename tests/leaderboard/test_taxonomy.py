from pathlib import Path
from typing import Any

import pytest
import yaml

from leaderboard.errors import InputError
from leaderboard.taxonomy import Node, load_taxonomy, read_taxonomy

POLYHEDRA = "verification/deterministic/incomplete/linear-relaxation/linear-inequality/polyhedra"


def paths_in(tree: dict[str, Any], above: str = "") -> list[str]:
    found = []
    for name, below in tree.items():
        found.append(above + name)
        if isinstance(below, dict):
            found += paths_in(below, f"{above}{name}/")
    return found


def test_every_node_of_the_published_tree_is_there(shared: Path) -> None:
    published = yaml.safe_load((shared / "literature" / "taxonomy.yaml").read_text("utf-8"))
    assert set(paths_in(published)) - set(load_taxonomy().nodes) == set()


def test_children_and_parents_walk_the_tree() -> None:
    taxonomy = load_taxonomy()
    assert [node.path for node in taxonomy.children()] == ["verification", "training"]
    assert [node.name for node in taxonomy.children("training")][:3] == [
        "regularization-based",
        "relaxation-based",
        "augmentation-based",
    ]
    assert [node.name for node in taxonomy.parents(POLYHEDRA)] == [
        "verification",
        "deterministic",
        "incomplete",
        "linear-relaxation",
        "linear-inequality",
    ]


def test_an_evaluator_is_found_at_its_node() -> None:
    node = load_taxonomy().of_evaluator("crown")
    assert node is not None
    assert node.path == POLYHEDRA
    assert load_taxonomy().of_evaluator("no-such") is None


@pytest.mark.parametrize("node", load_taxonomy().nodes.values(), ids=lambda node: node.path)
def test_every_node_says_in_sentences_what_it_is(node: Node) -> None:
    sentences = node.summary.splitlines()
    assert 2 <= len(sentences) <= 4
    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in sentences)


def test_every_leaf_names_a_paper() -> None:
    taxonomy = load_taxonomy()
    leaves = [node for path, node in taxonomy.nodes.items() if not taxonomy.children(path)]
    assert len(leaves) >= 24
    assert [leaf.path for leaf in leaves if not leaf.references] == []


def test_an_unknown_node_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'training/relaxation-based'"):
        load_taxonomy().find("training/relaxation")


NODE = '[[node]]\npath = "{}"\ntitle = "A"\nsummary = "B."\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (NODE.format("a") + NODE.format("a"), "'a' stands there twice"),
        (NODE.format("a/b"), "'a/b' has no node 'a' before it"),
        (NODE.format("A"), "node #1.path"),
        (NODE.format("a") + 'sumary = "x"\n', "Did you mean 'summary'?"),
        (NODE.format("a") + 'references = [{ label = "x", arxiv = "1" }]\n', "arXiv identifier"),
        (
            NODE.format("a")
            + 'evaluators = ["ibp"]\n'
            + NODE.format("b")
            + 'evaluators = ["ibp"]\n',
            "'ibp' is in 'a' and 'b'",
        ),
    ],
)
def test_a_wrong_tree_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "taxonomy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_taxonomy(path)
    (problem,) = raised.value.problems
    assert told in problem
