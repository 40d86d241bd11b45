"""The catalogue of layers: that nothing is missing, and that it says what plans do."""

from pathlib import Path

import pytest
from builders import INCEPTION, INCEPTION_INDICES, build

from caffe_lrp.layers import REGISTRY, Layer
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks
from caffe_lrp.relevance.catalogue import KINDS_OF_FORMULAS, SOURCES, LayerRow, catalogue
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters


def entries(type_name: str) -> list[LayerRow]:
    return [entry for entry in catalogue() if entry.type == type_name]


def test_every_registered_type_is_there_in_alphabetic_order() -> None:
    types = [entry.type for entry in catalogue()]
    assert types == sorted(types)
    assert set(types) == set(REGISTRY)


def test_every_entry_says_what_the_layer_does_and_who_chose_its_rule() -> None:
    for entry in catalogue():
        assert entry.what
        assert not entry.what.startswith(f"{entry.type}(")  # what dataclasses say of themselves
        if not entry.rules["ε"].startswith("none"):
            assert entry.source, entry.type


def test_types_of_several_operations_have_an_entry_for_each() -> None:
    assert len(entries("Eltwise")) == 4
    assert len(entries("Pooling")) >= 2
    assert "Taylor; corrected: pass" in [entry.rules["ε"] for entry in entries("LRN")]


def test_what_stands_for_other_classes_is_no_entry_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    eltwise, relu = REGISTRY["Eltwise"], REGISTRY["ReLU"]
    assert all(entry.what != str(eltwise.__doc__).splitlines()[0] for entry in entries("Eltwise"))
    chosen = type("Chosen", (Layer,), {"__doc__": "One of two.", "variants": (relu, REGISTRY["TanH"])})
    monkeypatch.setitem(REGISTRY, "Chosen", chosen)
    assert [entry.what for entry in entries("Chosen")] == [
        entry.what for name in ("ReLU", "TanH") for entry in entries(name)
    ]


def test_no_class_leaves_a_pass_open() -> None:
    for name in REGISTRY:
        assert entries(name), f"{name}: is abstract, and neither subclasses nor variants are there"


@pytest.mark.slow
@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize("kind", KINDS_OF_FORMULAS)
def test_rules_are_those_of_plans(kind: str, quirks: Quirks, tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION.replace('type: "ReLU"', 'type: "TanH"', 1))
    parameters = RuleParameters(0.1, 1.0, -1, quirks)
    plan = resolve_plan(net, KINDS_OF_FORMULAS[kind], parameters, INCEPTION_INDICES["fc2"], 0)
    for step in plan.steps:
        told = {entry.rules[kind] for entry in entries(step.layer.type)}
        meant = {text.split("; corrected: ")[-1 if quirks is CORRECTED else 0] for text in told}
        assert step.rule.title in meant


def test_a_new_type_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    relu = REGISTRY["ReLU"]
    doubled = type("Doubled", (relu,), {"__doc__": "Twice the ``max(x, 0)``.\n\nAnd more."})
    monkeypatch.setitem(REGISTRY, "Doubled", doubled)
    (entry,) = entries("Doubled")
    assert entry.what == "Twice the ``max(x, 0)``"
    assert entry.rules == entries("ReLU")[0].rules
    assert entry.source == SOURCES[relu]
    assert len(entries("ReLU")) == 1
