"""The account of relevance on its way down: causes against loops, and that they add up in whole nets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import oracle
import pytest
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    WORKSPACE,
    build,
    conditions,
    from_scores,
    random_blob,
    single_layer,
    without_biases,
)
from command_line import CONFIG, files_below, listing, run
from oracle import Lrn
from test_rules import Case, bias_of, by_case, by_quirk, passage_of, relevance_for

from caffe_lrp.batch.job import HeatmapJob, JobOutcome
from caffe_lrp.cli.accounts import conservation_lines
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs, Combination, Layer
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks
from caffe_lrp.relevance.conservation import Conservation, LayerAccount, Ledger, losses_of
from caffe_lrp.relevance.passage import Passage
from caffe_lrp.relevance.plan import Plan, Step, resolve_plan
from caffe_lrp.relevance.rules.accounts import CAUSES, Constants
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import AnyRule, RuleParameters, Seen
from caffe_lrp.relevance.rules.epsilon import Epsilon
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.normalization import TaylorNormalization
from caffe_lrp.relevance.rules.sharing import Contribution, Proportional
from caffe_lrp.relevance.rules.softmax import Overwrite
from caffe_lrp.relevance.rules.w_square import WSquare
from caffe_lrp.relevance.target import Target

ROOT = Path(__file__).parents[2]


def losses(rule: AnyRule, layer: Layer, x: Blob, relevance: Blob, item: int = 1) -> dict[str, float]:
    found = losses_of(passage_of(rule, layer, x, relevance), item, Constants())
    assert found is not None
    assert found.keys() <= CAUSES.keys()
    return found


def assert_losses(found: dict[str, float], expected: dict[str, float], scale: float) -> None:
    """Fail unless all causes agree; one that is not there has taken nothing."""
    for cause in found.keys() | expected.keys():
        assert found.get(cause, 0) == pytest.approx(expected.get(cause, 0), abs=2e-5 * scale), cause


# --- Causes, layer by layer -------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.5, 0.0])
@by_quirk
@by_case
def test_losses_of_epsilon_equal_loops(case: Case, quirk: bool, epsilon: float, tmp_path: Path) -> None:
    weights, x = case.weights(tmp_path), case.x()
    weights[0][2], x[1] = 0, np.abs(x[1])
    if len(weights) > 1:
        weights[1][2] = 0  # this output is 0 everywhere
    relevance = relevance_for(case, weights)
    edges, bias = case.edges(weights), bias_of(weights)
    z = oracle.linear(x, weights[0], bias, edges)[1]
    shift = np.zeros(z.shape) if bias is None else oracle.linear(0 * x, weights[0], bias, edges)[1]
    expected = dict.fromkeys(("bias", "epsilon", "zero_sum", "Q4"), 0.0)
    for at in np.ndindex(*z.shape):
        received = float(relevance[1][at])
        if z[at] != 0:
            quotient = received / (z[at] + epsilon * np.sign(z[at]))
            expected["bias"] += quotient * shift[at]
            expected["epsilon"] += quotient * epsilon * np.sign(z[at])
        else:
            expected["Q4" if quirk else "epsilon" if epsilon else "zero_sum"] += received
    assert (z == 0).any()
    found = losses(Epsilon(epsilon, quirk), case.build(tmp_path, weights), x, relevance)
    handed = oracle.epsilon(x, weights[0], bias, relevance, edges, epsilon, quirk)
    assert_losses(found, expected, float(np.abs(handed).sum()))


def alpha_beta_losses(
    case: Case, weights: list[Blob], x: Blob, relevance: Blob, beta: float, quirk: bool
) -> dict[str, float]:
    expected = dict.fromkeys(("bias", "no_positive", "no_negative"), 0.0)
    edges, bias = case.edges(weights), bias_of(weights)
    totals = oracle.alpha_beta_sums(x[1], weights[0], bias, edges, quirk, case.groups)
    products = oracle.alpha_beta_sums(x[1], weights[0], None, edges, quirk, case.groups)
    for part, factor in enumerate((1 + beta, -beta)):
        for at in np.ndindex(*totals[part].shape):
            received, total = factor * float(relevance[1][at]), totals[part][at]
            if total != 0:
                expected["bias"] += received * float(total - products[part][at]) / float(total)
            else:
                expected[("no_positive", "no_negative")[part]] += received
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.75])
@pytest.mark.parametrize("sign", ["both", "positive"])
@by_quirk
@by_case
def test_losses_of_alpha_beta_equal_loops(
    case: Case, quirk: bool, sign: str, beta: float, tmp_path: Path
) -> None:
    weights, x = case.weights(tmp_path), case.x(sign)
    weights[0][1] = np.abs(weights[0][1])
    weights[0][0] = -np.abs(weights[0][0])
    if len(weights) > 1:
        weights[1][:2] = 0  # windows of one sign
    relevance = relevance_for(case, weights)
    expected = alpha_beta_losses(case, weights, x, relevance, beta, quirk=False)
    if quirk:
        used = alpha_beta_losses(case, weights, x, relevance, beta, quirk=True)
        expected["Q5"] = sum(used.values()) - sum(expected.values())
    if sign == "positive":
        assert expected["no_positive"] != 0
    found = losses(AlphaBeta(beta, quirk), case.build(tmp_path, weights), x, relevance)
    assert_losses(found, expected, float(np.abs(relevance).sum()))
    assert ("Q5" in found) == (quirk and len(weights) > 1 and case.groups > 1)


@by_quirk
@by_case
def test_losses_of_flat_equal_loops(case: Case, quirk: bool, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    relevance, edges = relevance_for(case, weights), case.edges(weights)
    inputs, taps = weights[0][0].size, weights[0][0].size
    if case.geometry:
        taps = case.geometry.kernel[0] * case.geometry.kernel[1]
    expected = dict.fromkeys(("padding", "Q6"), 0.0)
    for target, received in enumerate(relevance[1].reshape(-1).astype(float)):
        seen = int((edges.target == target).sum())
        expected["padding"] += received * (1 - seen / inputs)
        expected["Q6"] += received * (seen / inputs - seen / taps) * quirk
    found = losses(Flat(quirk), case.build(tmp_path, weights), case.x(), relevance)
    assert_losses(found, expected, float(np.abs(relevance).sum()))


@by_case
def test_losses_of_w_square_equal_loops(case: Case, tmp_path: Path) -> None:
    weights = case.weights(tmp_path)
    weights[0][2] = 0
    relevance, edges = relevance_for(case, weights), case.edges(weights)
    expected = dict.fromkeys(("padding", "zero_weights"), 0.0)
    flat_weights = weights[0].reshape(-1).astype(float)
    per_output = relevance[1].size // len(weights[0])
    for target, received in enumerate(relevance[1].reshape(-1).astype(float)):
        whole = (weights[0][target // per_output].astype(float) ** 2).sum()
        if whole == 0:
            expected["zero_weights"] += received
            continue
        inside = (flat_weights[edges.weight[edges.target == target]] ** 2).sum()
        expected["padding"] += received * (1 - inside / whole)
    found = losses(WSquare(), case.build(tmp_path, weights), case.x(), relevance)
    assert_losses(found, expected, float(np.abs(relevance).sum()))


POOLING = 'type: "Pooling" pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1 }'


@pytest.mark.parametrize(
    ("body", "ends"),
    [(POOLING, (1, 0)), (POOLING.replace("AVE", "AVE_EXC_PAD").replace("pad_h", "pad_t"), (0, 0))],
)
def test_average_pooling_loses_to_q7_alone(body: str, ends: tuple[int, int], tmp_path: Path) -> None:
    layer = single_layer(tmp_path, body, (3, 8, 5))
    x = random_blob((2, 3, 8, 5), 1)
    x[1, :, :5] = 0
    (y,) = layer.forward([x], WORKSPACE)
    relevance = random_blob(y.shape, 2)
    rows = oracle.pool_windows((8, 5), oracle.Geometry((3, 2), (2, 2), (1, 0), ends=ends))
    expected = 0.0
    for channel in range(3):
        for window in rows:
            total = sum(float(x[1, channel, row, column]) for row, column in window.pixels)
            if abs(total) < 1e-6:
                expected += float(relevance[1, channel, window.row, window.column]) - total
    assert expected != 0
    assert_losses(losses(Proportional(True), layer, x, relevance), {"Q7": expected}, 1)
    assert losses(Proportional(False), layer, x, relevance) == {}


def test_losses_of_the_taylor_rule_equal_loops(tmp_path: Path) -> None:
    lrn = Lrn(3, 0.5, 0.75, 2.0)
    body = 'type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }'
    layer = single_layer(tmp_path, body, (7, 4, 3))
    x, relevance = random_blob((2, 7, 4, 3), 1), random_blob((2, 7, 4, 3), 2)
    expected = float((relevance[1] - oracle.lrn_taylor(x, relevance, lrn)[1]).sum())
    assert_losses(losses(TaylorNormalization(), layer, x, relevance), {"Q8": expected}, 10)


def test_a_softmax_that_overwrites_loses_to_q9(tmp_path: Path) -> None:
    layer = single_layer(tmp_path, 'type: "Softmax"', (6,))
    relevance = random_blob((2, 6), 2)
    expected = {"Q9": float(relevance[1].sum()) - 1}
    assert_losses(losses(Overwrite(), layer, random_blob((2, 6), 1), relevance), expected, 1)


class Shifted(Combination):
    """Stands for a sum of inputs and a bias of 2."""

    has_bias: ClassVar[bool] = True

    def contributions(self, inputs: Blobs, outputs: Blobs, gates: Sequence[bool]) -> tuple[Blob | None, ...]:
        return inputs[0], inputs[1], None

    def forward(self, inputs: Blobs, workspace: Workspace) -> tuple[Blob, ...]:
        raise NotImplementedError

    def gradient(
        self, inputs: Blobs, outputs: Blobs, gradients: Blobs, workspace: Workspace
    ) -> tuple[Blob, ...]:
        raise NotImplementedError


def test_contributions_lose_to_a_bias() -> None:
    inputs = [random_blob((2, 3, 4, 5), seed) for seed in (1, 2, 3)]
    output, relevance = inputs[0] + inputs[1] + 2, random_blob((2, 3, 4, 5), 4)
    output[1, 0, 0, 0] = 0  # shared alike, whatever the bias
    layer = Shifted(index=0, name="", type="", inputs=(0, 1, 2), outputs=(3,), input_shapes=((3, 4, 5),) * 3)
    seen = Seen(inputs, [output])
    passage = Passage(Step(layer, Contribution(), conditions()), seen, [relevance], (), WORKSPACE)
    share = relevance[1].astype(float) * 2 / np.where(output[1] == 0, np.inf, output[1])
    found = losses_of(passage, 1, Constants())
    assert found is not None
    assert_losses(found, {"bias": float(share.sum())}, float(np.abs(share).sum()))


# --- Whole nets -------------------------------------------------------------------------------------------

FC2 = INCEPTION_INDICES["fc2"]
CLASSES = [[3], [0]]


#: Bounds of `images` in every channel.
BOX = (3 * (-6.0,), 3 * (6.0,))


def plan_for(
    net: Net, code: int | str, quirks: Quirks, *, epsilon: float = 0.1, start: int = FC2, first: int = 0
) -> Plan:
    return resolve_plan(net, code, RuleParameters(epsilon, 1.0, 8, quirks, 0.25, *BOX), start, first)


def reports_of(plan: Plan, batch: Blob, classes: list[list[int]] = CLASSES) -> list[Conservation]:
    """One for every item of a batch."""
    forward, ledger = ENGINE.forward(plan.net, [plan], batch), Ledger(plan, Constants())
    observed = from_scores(plan, forward, classes, ledger)
    assert observed.tobytes() == from_scores(plan, forward, classes).tobytes()
    return [ledger.report(item) for item in range(len(batch))]


def images(seed: int = 3) -> Blob:
    return random_blob((2, *INCEPTION_SHAPE), seed)


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize(
    "formula", [0, 2, 54, 56, 58, 60, 100, 102, 104, 114, "gamma-all", "epsilon-gamma-box", "deep-taylor"]
)
def test_what_enters_is_what_leaves_and_what_is_lost(
    formula: int | str, quirks: Quirks, tmp_path: Path
) -> None:
    net = build(tmp_path, INCEPTION)
    for report in reports_of(plan_for(net, formula, quirks), images()):
        assert [layer.index for layer in report.layers] == [*range(FC2, -1, -1)]
        for layer in report.layers:
            known = sum(amount for cause, amount in layer.lost.items() if cause != "rest")
            scale = max(layer.absolute, abs(layer.leaves))
            assert layer.enters - layer.leaves == pytest.approx(known, abs=1e-5 * scale), layer
            assert "rule" not in layer.lost
        assert report.starts == pytest.approx(report.arrives + sum(report.lost.values()), rel=1e-9)
        assert report.aside == 0


@pytest.mark.parametrize("formula", [0, 100, 102])
def test_sums_are_those_of_the_relevance_itself(formula: int, tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    plan, batch = plan_for(net, formula, REFERENCE), images()
    forward = ENGINE.forward(net, [plan], batch)
    relevance = from_scores(plan, forward, CLASSES)
    scores = forward.activations[net.layers[FC2].outputs[0]]
    for item, report in enumerate(reports_of(plan, batch)):
        assert report.arrives == pytest.approx(float(relevance[item].sum(dtype=np.float64)))
        assert report.starts == pytest.approx(float(scores[item, CLASSES[item][0]]))
        for above, below in zip(report.layers, report.layers[1 : FC2 - 13], strict=False):
            assert above.leaves == below.enters
        by_name = {layer.name: layer for layer in report.layers}
        # The Concat gives its relevance to three branches, and the Split takes it back from them.
        joined = by_name["joined"]
        assert joined.leaves == pytest.approx(sum(by_name[f"relu_{name}"].enters for name in "abc"))
        assert by_name["norm1"].enters == pytest.approx(by_name["norm1_norm1_0_split"].leaves)


@pytest.mark.parametrize("formula", [0, 100])
def test_nothing_is_lost_where_nothing_can_be(formula: int, tmp_path: Path) -> None:
    net = build(tmp_path, without_biases(INCEPTION))
    for report in reports_of(plan_for(net, formula, CORRECTED, epsilon=0), images()):
        for layer in report.layers:
            possible = {"αβ": {"no_positive", "no_negative", "rest"}, "ε": {"zero_sum", "rest"}}
            assert layer.lost.keys() <= possible.get(layer.rule, {"rest"})
            if layer.rule != "αβ":
                assert abs(layer.difference) <= 1e-5 * max(layer.absolute, abs(layer.leaves))
            if layer.rule == "pass":
                assert layer.lost == {"rest": 0}
                assert layer.leaves == layer.enters


@pytest.mark.parametrize("formula", [11, 26, 166])
def test_rules_that_are_not_made_to_conserve_take_the_difference(formula: int, tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    (report, _) = reports_of(plan_for(net, formula, CORRECTED), images())
    convolution = next(layer for layer in report.layers if layer.name == "conv1")
    assert convolution.lost == {"rule": convolution.difference}
    assert convolution.main_cause == "rule"


def test_an_account_does_not_depend_on_the_rest_of_the_batch(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    plan = plan_for(net, 102, REFERENCE)
    together = reports_of(plan, images())
    for item, report in enumerate(together):
        (alone,) = reports_of(plan, images()[item : item + 1], [CLASSES[item]])
        assert alone.as_json() == report.as_json()


def test_relevance_of_branches_that_are_not_followed_stays_aside(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    plan = plan_for(net, 0, CORRECTED, first=INCEPTION_INDICES["b"])
    for report in reports_of(plan, images()):
        # Branch c is followed as far as its lowest layer above "b", branch a not at all.
        by_name = {layer.name: layer for layer in report.layers}
        followed = by_name["relu_b"].enters + by_name["relu_c"].enters
        aside = by_name["joined"].leaves - followed + by_name["c_pool"].leaves
        assert report.aside == pytest.approx(aside)
        assert report.aside != 0
        assert report.starts == pytest.approx(report.arrives + report.aside + sum(report.lost.values()))


RESIDUAL = """
name: "residual" input: "data" input_shape { dim: 2 dim: 4 dim: 7 dim: 6 }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "a" top: "b"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" eltwise_param { coeff: 1 coeff: 0.5 } }
layer { name: "gate" type: "Sigmoid" bottom: "b" top: "gate" }
layer { name: "scaled" type: "Eltwise" bottom: "sum" bottom: "gate" top: "scaled"
  eltwise_param { operation: PROD } }
layer { name: "fc" type: "InnerProduct" bottom: "scaled" top: "fc" inner_product_param { num_output: 5 } }
"""


@pytest.mark.parametrize("formula", [0, 2])
def test_sums_and_gates_lose_nothing(formula: int, tmp_path: Path) -> None:
    net = build(tmp_path, RESIDUAL)
    start = len(net.layers) - 1
    for report in reports_of(plan_for(net, formula, REFERENCE, start=start), random_blob((2, 4, 7, 6), 1)):
        for layer in report.layers:
            if layer.rule == "R·c/Σc":
                assert layer.lost.keys() == {"rest"}
                assert abs(layer.difference) <= 1e-5 * layer.absolute
    assert [layer.rule for layer in report.layers].count("R·c/Σc") == 2


# --- The command line -------------------------------------------------------------------------------------


def test_a_table_is_printed_for_the_first_map_and_a_line_for_each(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/tall.png 5")
    plain = run("-c", CONFIG, "-f", path, "-p", tmp_path / "plain")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path / "o", "--conservation")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "images/set/square.jpg, formula 2: sums of relevance, and where it is lost"
    assert lines[1].split()[:6] == ["index", "name", "type", "rule", "enters", "leaves"]
    assert lines[2].split()[:4] == ["16", "fc7", "InnerProduct", "αβ"]
    assert lines[18].split()[:2] == ["0", "conv1_1"]
    assert lines[19].split()[0] == "all"
    assert lines[20].startswith("images/set/square.jpg, formula 2: ")
    assert "; the sum changes most at layer 16 'fc7' (InnerProduct, αβ): by +" in lines[20]
    assert lines[21].startswith("images/set/tall.png, formula 2: ")
    assert lines[22].startswith("2 of 2 heatmaps made")
    assert "_conservation.json" in lines[23]
    assert plain.stdout.startswith("2 of 2 heatmaps made")
    accounts = [name for name in files_below(tmp_path / "o") if "conservation" in name]
    for name in files_below(tmp_path / "plain"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert len(accounts) == 0  # files_below leaves JSON out


def test_the_account_of_every_map_is_stored(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg -2", "images/set/tall.png 5")
    options = ("--outputs", "conservation", "--formula", "0,102", "--quiet")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, *options)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    files = sorted((tmp_path / "out/images/set").iterdir())
    assert [file.name for file in files] == [
        "square.jpg_f0_top5_conservation.json",
        "square.jpg_f102_top5_conservation.json",
        "tall.png_f0_c5_conservation.json",
        "tall.png_f102_c5_conservation.json",
    ]
    accounts = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    assert [account["formula"] for account in accounts] == [0, 102, 0, 102]
    assert [len(account["classes"]) for account in accounts] == [5, 5, 1, 1]
    for account in accounts:
        assert account["layers"][0].keys() == {
            "index", "name", "type", "rule", "enters", "leaves", "absolute", "lost",
        }  # fmt: skip
        assert account["starts"] == pytest.approx(account["arrives"] + sum(account["lost"].values()))
        assert {cause for layer in account["layers"] for cause in layer["lost"]} <= CAUSES.keys()
    files[2].unlink()
    again = run("-c", CONFIG, "-f", path, "-p", tmp_path, *options[:-1])
    assert "1 of them in earlier runs" not in again.stdout
    assert "3 of 4 maps are done, the files of 1 are gone; 1 left" in again.stderr
    assert files[2].exists()


def account(leaves: float, aside: float, lost: dict[str, float]) -> JobOutcome:
    job = HeatmapJob(0, 1, Path("a.jpg"), Target(1), 0, "out/a.jpg")
    layer = LayerAccount(3, "fc", "InnerProduct", "ε", 2.0, leaves, 2.0, lost)
    return JobOutcome(job, conservation=Conservation(2.0, leaves - aside, aside, (layer,)))


def test_rounding_is_not_told_as_a_loss() -> None:
    lines = list(conservation_lines(account(2.0, 0.0, {"rest": 1e-9}), in_full=True))
    assert [line.split() for line in lines[1:4]] == [
        ["index", "name", "type", "rule", "enters", "leaves"],
        ["3", "fc", "InnerProduct", "ε", "2", "2"],
        ["all", "2", "2"],
    ]
    assert lines[4] == "a.jpg, formula 0: 2 of 2 arrives, nothing is lost"


def test_what_stays_aside_and_what_changes_most_are_told() -> None:
    (line,) = conservation_lines(account(1.5, 0.25, {"bias": 0.6, "epsilon": -0.1}), in_full=False)
    assert line == (
        "a.jpg, formula 0: 1.25 of 2 arrives, 0.25 stays at other branches; the sum changes most at layer 3 "
        "'fc' (InnerProduct, ε): by -0.5, mainly bias"
    )
