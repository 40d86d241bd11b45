"""The benchmark: what it counts is right by hand, what it reports is what it measured. No time is tested."""

import importlib
import json
import math
import re
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import bench
import bench_cli
import numpy as np
import pytest
from bench_flops import direct_flops, forward_flops, multiplications, products
from bench_machine import (
    Clocks,
    Machine,
    best_product_rate,
    copy_bandwidth,
    denials,
    kernel_choices,
    others_share,
)
from bench_nets import NETS, photo, prepare_net, prepare_photos, unloaded_plan
from bench_report import add_direct_time, machine_lines, speed_row, table, write_json
from bench_worker import Case, Round, Worker, repetitions
from builders import (
    INCEPTION,
    assert_close,
    build,
    from_scores,
    random_blob,
    single_layer,
)
from chapters import chapter

import caffe_lrp
from caffe_lrp.config import read_config
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.layers.linear import Linear
from caffe_lrp.quirks import CORRECTED, REFERENCE
from caffe_lrp.relevance.formulas import FORMULAS
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import AnyRule, RuleParameters
from caffe_lrp.relevance.rules.epsilon import Epsilon
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.gamma import Gamma
from caffe_lrp.relevance.rules.gradients import Gradient
from caffe_lrp.relevance.rules.w_square import WSquare
from caffe_lrp.relevance.rules.z_box import ZBox

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEMO_CONFIG = ROOT / "configs" / "demo.txt"
DEMO_PHOTOS = sorted(map(str, (ROOT / "filelists" / "demo").glob("*.png")))[:2]

#: Layers 0 conv1, 1 relu, 2 conv2, 3 fc, 4 prob.
SMALL_NET = """
input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 8 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" relu_param { negative_slope: SLOPE } }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 6 kernel_size: 2 stride: 2 group: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
#: What the nets of the benchmark have, LRN aside, which is left out for zennit.
BRANCHED_NET = """
input: "data" input_shape { dim: 1 dim: 3 dim: 15 dim: 13 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "a" type: "Convolution" bottom: "pool" top: "a"
  convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "relu_a" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "pool" top: "b"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "relu_b" type: "ReLU" bottom: "b" top: "b" }
layer { name: "joined" type: "Concat" bottom: "a" bottom: "b" top: "joined" }
layer { name: "global" type: "Pooling" bottom: "joined" top: "global"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "drop" type: "Dropout" bottom: "global" top: "global" }
layer { name: "fc" type: "InnerProduct" bottom: "global" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
#: 9·8 positions × 4 outputs × 27 inputs, 4·4 × 6 × 8, 5 × 96.
CONV1, CONV2, FC = 7776, 768, 480

MACHINE = Machine("CPU", 2, {1: 100.0, 2: 250.0}, {1: "", 2: "SkylakeX"}, 40.0)


def plan_of(folder: Path, formula: int, text: str, beta: float = 1.0) -> Plan:
    parameters = RuleParameters(epsilon=0.01, beta=beta, switch_layer=0, quirks=REFERENCE)
    return resolve_plan(build(folder, text), formula, parameters, -1, 0)


@pytest.mark.parametrize(
    ("rule", "signed", "count"),
    [
        (None, True, 1),
        (Epsilon(0.01, True), True, 2),
        (Gradient(), False, 2),
        (Gradient(), True, 2),
        (AlphaBeta(1.0, True), False, 4),
        (AlphaBeta(1.0, True), True, 8),
        (AlphaBeta(0.0, True), False, 3),
        (AlphaBeta(0.0, True), True, 5),
        (Gamma(0.25), False, 4),
        (Gamma(0.25), True, 8),
        (ZBox((-1.0,), (1.0,)), True, 5),
        (Flat(True), True, 1),
        (WSquare(), True, 1),
    ],
)
def test_products_of_a_layer_follow_from_its_rule(rule: AnyRule | None, signed: bool, count: int) -> None:
    assert products(rule, signed=signed) == count


def test_a_grouped_convolution_multiplies_the_channels_of_one_group(tmp_path: Path) -> None:
    body = 'type: "Convolution" convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 group: 2 }'
    layer = single_layer(tmp_path, body, (4, 7, 5))
    assert isinstance(layer, Linear)
    assert multiplications(layer) == 6 * (5 * 4) * (3 * 2 * 2)


@pytest.mark.parametrize(
    ("formula", "beta", "multiplied"),
    [
        (0, 1.0, 2 * (CONV1 + CONV2 + FC)),
        (11, 1.0, 2 * (CONV1 + CONV2 + FC)),
        (2, 1.0, 8 * CONV1 + 4 * CONV2 + 8 * FC),  # no ReLU stands before fc
        (100, 1.0, 8 * CONV1 + 4 * CONV2 + 2 * FC),
        (100, 0.0, 5 * CONV1 + 3 * CONV2 + 2 * FC),
        (102, 1.0, CONV1 + 4 * CONV2 + 2 * FC),
        (104, 1.0, CONV1 + 4 * CONV2 + 2 * FC),
    ],
)
def test_operations_are_two_for_each_multiplication(
    tmp_path: Path, formula: int, beta: float, multiplied: int
) -> None:
    plan = plan_of(tmp_path, formula, SMALL_NET.replace("SLOPE", "0"), beta)
    assert direct_flops(plan) == 2 * multiplied
    assert forward_flops(plan.net) == 2 * (CONV1 + CONV2 + FC)


def test_a_leaky_relu_leaves_signed_inputs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 100, SMALL_NET.replace("SLOPE", "0.5"))
    assert direct_flops(plan) == 2 * (8 * CONV1 + 8 * CONV2 + 2 * FC)


def test_values_stay_non_negative_through_layers_that_move_elements(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    known = net.nonnegative_values
    names = {layer.name for layer in net.layers if known.issuperset(layer.outputs)}
    linear = {"conv1", "a", "b_reduce", "b", "c", "fc1", "fc2", "relu_fc1"}  # relu_fc1 is leaky
    assert names == {layer.name for layer in net.layers} - linear


def test_the_operations_in_the_manual_are_those_that_are_counted() -> None:
    rows = re.findall(r"^\| `(\w+)` \|((?: [\d.]+ \|)+)$", chapter("speed"), re.MULTILINE)
    formulas = (None, 0, 11, 100, 102, 104)
    counted = {net: [f"{bench.flops_of(net, formula) / 1e9:.1f}" for formula in formulas] for net in NETS}
    assert {net: cells.replace("|", "").split() for net, cells in rows} == counted


def test_plans_without_weights_are_those_of_the_configs() -> None:
    plan = unloaded_plan("googlenet", 102)
    assert sum(isinstance(step.rule, Flat) for step in plan.steps) == 3


def test_the_better_half_of_two_measurements_counts() -> None:
    other = Machine("CPU", 2, {1: 120.0, 2: 240.0}, {1: "SkylakeX", 2: ""}, 50.0)
    best = Machine("CPU", 2, {1: 120.0, 2: 250.0}, {1: "SkylakeX", 2: "SkylakeX"}, 50.0)
    for found in (MACHINE.better(other), other.better(MACHINE)):
        assert replace(found, others=0.0) == replace(best, others=0.0)  # unknown, it equals nothing


def test_other_programs_on_the_machine_are_reported() -> None:
    assert "do not trust" not in machine_lines(MACHINE)
    assert "other programs took 25% of the machine" in machine_lines(replace(MACHINE, others=0.25))


def test_busy_time_that_is_not_ours_belongs_to_other_programs() -> None:
    assert others_share(Clocks(100, 50, 10), Clocks(120, 65, 20)) == pytest.approx(0.25)
    assert others_share(Clocks(100, 50, 10), Clocks(120, 59, 20)) == 0
    assert math.isnan(others_share(Clocks(0, 0, 10), Clocks(0, 0, 20)))


def test_kernels_with_avx512_are_tried_only_where_cpu_and_target_have_it() -> None:
    old, new = {"avx2"}, {"avx2", "avx512f"}
    assert kernel_choices(new, new) == ("", "SkylakeX")
    assert kernel_choices(new, old) == ("Haswell", "Zen")
    assert kernel_choices(old, old) == ("",)


def test_other_programs_may_not_use_features_that_our_target_lacks() -> None:
    old, new = {"avx2"}, {"avx2", "avx512f"}
    assert denials(new, old) == {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }
    assert denials(new, new) == {}
    assert denials(old, old) == {}


def test_rates_of_the_machine_are_positive() -> None:
    assert best_product_rate((16, 32), 0.0) > 0
    assert copy_bandwidth(2, size=1 << 12) > 0


def test_photos_differ_and_are_made_once(tmp_path: Path) -> None:
    first, second = prepare_photos(tmp_path, 2)
    assert first.read_bytes() != second.read_bytes()
    written = first.stat().st_mtime_ns
    assert prepare_photos(tmp_path, 1) == [first]
    assert first.stat().st_mtime_ns == written


def test_photos_are_full_of_detail() -> None:
    pixels = photo(3, 60, 45)
    assert pixels.shape == (45, 60, 3)
    assert np.array_equal(pixels, photo(3, 60, 45))
    assert np.std(np.diff(pixels.astype(float), axis=1)) > 5


def test_a_prepared_net_has_all_its_files(tmp_path: Path) -> None:
    config = read_config(prepare_net("googlenet", tmp_path))
    assert config.caffemodel.stat().st_size > 4 * 6_998_552
    assert config.mean_file is not None
    assert config.mean_file.is_file()
    assert config.synset_file is not None
    assert config.synset_file.is_file()
    assert config.formula == 100


def rounds_of(*milliseconds: float) -> list[Round]:
    return [Round(10, value / 100, value / 400, value * 3 / 400) for value in milliseconds]


def test_a_row_has_medians_and_the_median_of_ratios_within_rounds() -> None:
    rounds = {
        "explain": rounds_of(10, 20, 40),
        "zennit": rounds_of(50, 80, 240),
        "gradient": rounds_of(5, 20, 20),
        "end_to_end": rounds_of(20, 30, 44),
        "explain_all": rounds_of(25, 24, 40),
    }
    row = speed_row(rounds)
    assert row["total_ms"] == pytest.approx(20)
    assert row["least_ms"] == pytest.approx(10)
    assert row["forward_ms"] == pytest.approx(5)
    assert row["relevance_ms"] == pytest.approx(15)
    assert row["zennit_ms"] == pytest.approx(80)
    assert row["to_zennit"] == pytest.approx(5)
    assert row["gradient_ms"] == pytest.approx(20)
    assert row["to_gradient"] == pytest.approx(2)
    assert row["end_to_end_ms"] == pytest.approx(30)
    assert row["to_map_only"] == pytest.approx(1.5)
    assert row["explain_all_ms"] == pytest.approx(25)
    assert row["to_explain_all"] == pytest.approx(1.1)


def test_the_direct_time_is_that_of_the_threads_a_row_had() -> None:
    row = speed_row({"explain": rounds_of(20)}) | {"direct_gflop": 1.25, "threads": 2}
    add_direct_time(row, MACHINE)
    assert row["direct_ms"] == pytest.approx(5)
    assert row["to_direct"] == pytest.approx(4)
    assert row["rate"] == pytest.approx(62.5)


def test_the_table_has_the_columns_that_are_known() -> None:
    rows = [
        {"net": "vgg16", "formula": 100, "total_ms": 1234.56, "to_zennit": math.nan},
        {"net": "caffenet", "formula": "forward", "peak_memory": math.nan},
    ]
    assert table(rows) == (
        "|      net | formula | ms an image |\n"
        "| -------: | ------: | ----------: |\n"
        "|    vgg16 |     100 |     1,234.6 |\n"
        "| caffenet | forward |             |"
    )


def test_json_has_null_for_unknown_values(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_json(path, MACHINE, {"throughput": [{"net": "vgg16", "peak_memory": math.nan, "rounds": [1.5]}]})
    report = json.loads(path.read_text())
    assert report["machine"]["product_rates"] == {"1": 100.0, "2": 250.0}
    assert report["tables"] == {"throughput": [{"net": "vgg16", "peak_memory": None, "rounds": [1.5]}]}


def test_counting_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    arguments = ["--mode", "count", "--nets", "caffenet", "--formulas", "forward", "100", "--json", str(path)]
    assert bench.main(arguments) == 0
    assert json.loads(path.read_text())["machine"] is None
    assert "| caffenet | forward |          1.4 |" in capsys.readouterr().out


def test_the_end_to_end_time_is_that_of_the_images_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cli(config: Path, photos: list[Path], options: list[str]) -> bench_cli.ProcessRun:
        # Two files an image; the first of four images take long, and so do the last of four.
        steps = [1.0] * 8 + [0.125] * 8 + [2.0] * 8
        return bench_cli.ProcessRun(40.0, 100.0, tuple(accumulate(steps)))

    monkeypatch.setattr(bench_cli, "run_cli", run_cli)
    middle, run = bench_cli.end_to_end(Path("config"), [Path("photo")] * 12, 4, [])
    assert middle.images == 4
    assert middle.milliseconds == pytest.approx(250)
    assert run.seconds == 40.0


def test_a_model_tells_how_long_the_images_in_the_middle_take_and_the_stages_around_them() -> None:
    photos = list(map(Path, DEMO_PHOTOS))
    with caffe_lrp.load(DEMO_CONFIG) as model:
        middle = bench_cli.explain_all(model, photos * 2, 1, 100, batch=1)
        assert middle.images == 2 * len(photos) - 2
        assert middle.seconds > 0
        assert bench_cli.decode_milliseconds(model, photos) > 0
        assert bench_cli.write_milliseconds(model, photos, 100) > 0


def test_rounds_last_about_as_long_as_wanted() -> None:
    assert repetitions(lambda count: Round(count, 0.25 * count), 1.0) == 4
    assert repetitions(lambda count: Round(count, 7.0 * count), 1.0) == 1


@pytest.fixture
def demo_case() -> Case:
    return Case(
        str(DEMO_CONFIG), tuple(DEMO_PHOTOS), 100, 2, 2, together=False, convolution="auto", round_seconds=0.0
    )


@pytest.mark.parametrize("formula", [None, 100])
@pytest.mark.parametrize("together", [False, True])
def test_a_process_tells_how_long_its_rounds_took(
    demo_case: Case, formula: int | None, together: bool
) -> None:
    with Worker("bench_engine.py", replace(demo_case, formula=formula, together=together)) as worker:
        taken = worker.run("explain")
    assert taken.images == (2 if together else 4)
    assert taken.forward_seconds + taken.relevance_seconds == pytest.approx(taken.seconds)
    assert (taken.relevance_seconds > 0) == (formula is not None)
    assert worker.peak_memory > 10


def test_a_process_that_ends_early_is_reported(demo_case: Case) -> None:
    case = replace(demo_case, config="missing.txt")
    with pytest.raises(RuntimeError, match=r"bench_engine\.py ended with exit code 1"):  # noqa: SIM117
        with Worker("bench_engine.py", case) as worker:
            worker.run("explain")


def test_the_command_runs_as_a_process(tmp_path: Path) -> None:
    run = bench_cli.run_cli(DEMO_CONFIG, list(map(Path, DEMO_PHOTOS[:1])), ["-b", "default_minimal"])
    assert run.seconds > 0
    assert run.peak_memory > 10
    assert len(run.written) == 2
    with pytest.raises(RuntimeError, match="exit code 3"):
        bench_cli.run_cli(tmp_path / "missing.txt", [], [])


def test_without_pytorch_nothing_is_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert bench.main(["--against", "zennit"]) == 2
    assert "torch and zennit" in capsys.readouterr().err


#: But for those with flat, which zennit shares among the inputs inside the image, and we among all taps.
NAMES = [code for code in FORMULAS if isinstance(code, str) and not code.endswith("-flat")]


@pytest.mark.parametrize("formula", [0, 2, 11, 100, *NAMES])
def test_zennit_gets_the_same_net_and_the_same_rules(tmp_path: Path, formula: int | str) -> None:
    pytest.importorskip("torch")
    bench_zennit = importlib.import_module("bench_zennit")
    quirks = replace(CORRECTED, Q3_gradient_seeded_with_score=True)
    bounds = ((-6.0, -5.0, -5.5), (5.0, 7.0, 6.5))
    parameters = RuleParameters(0.01, 1.0, 0, quirks, 0.4, *bounds)
    net = build(tmp_path, BRANCHED_NET)
    plan = resolve_plan(net, formula, parameters, -1, 0)
    images = random_blob((3, *net.input_shape), seed=1)
    with CpuEngine() as engine:
        forward = engine.forward(net, (plan,), images)
        relevance = from_scores(plan, forward, [(item,) for item in range(3)], engine=engine)
    assert_close(np.ascontiguousarray(relevance), bench_zennit.Zennit(plan, images).attribute(), 1e-4)
