from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.config import KEYS, HeatmapConfig, read_config
from caffe_lrp.errors import ConfigError

SWITCH = "auxiliaryvariable_maxlayerindexforflatdistinconv"
VALUES = {
    "param_file": "net.prototxt",
    "model_file": "net.caffemodel",
    "mean_file": "mean.binaryproto",
    "use_mean_file_asbinaryprotoblob": "1",
    "synsetfile": "synset.txt",
    "lastlayerindex": "-2",
    "firstlayerindex": "0",
    "numclasses": "12",
    "baseimgsize": "72",
    "standalone_outpath": "./out",
    "standalone_rootpath": "images",
    "relpropformulatype": "100",
    "epsstab": "0.01",
    "alphabeta_beta": "1",
    "auxiliaryvariable_maxlayerindexforflatdistinconv": "4",
}


def write(folder: Path, text: str | None = None, **changes: str | None) -> Path:
    """A config file from ``text``, or from VALUES with changes; None leaves a key out."""
    pairs = {**VALUES, **changes}
    body = "".join(f"{key}\n{value}\n\n" for key, value in pairs.items() if value is not None)
    path = folder / "config.txt"
    path.write_text(body if text is None else text)
    return path


def test_every_value_arrives_in_its_type(tmp_path: Path) -> None:
    config = read_config(write(tmp_path))
    assert config.prototxt == Path("net.prototxt")
    assert (config.mean_format, config.start_layer, config.first_layer) == (1, -2, 0)
    assert (config.class_count, config.base_size) == (12, 72)
    assert (config.output_root, config.path_root) == ("./out", "images")
    assert (config.formula, config.epsilon, config.beta, config.switch_layer) == (100, 0.01, 1.0, 4)
    assert config.quirks == "reference"


def test_blanks_tabs_comments_and_crlf_around_keys_and_values_are_ignored(tmp_path: Path) -> None:
    text = "".join(
        f"a comment\r\n \t{key} trailing words\r\n\t {value} more words\r\n" for key, value in VALUES.items()
    )
    path = tmp_path / "config.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_config(path).formula == 100


def test_the_first_line_that_begins_with_a_key_wins(tmp_path: Path) -> None:
    body = write(tmp_path).read_text()
    assert read_config(write(tmp_path, "epsstab_of_old\n0.5\n" + body)).epsilon == 0.5


def test_all_missing_keys_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, epsstab=None, numclasses=None))
    assert "'epsstab' is missing" in str(caught.value)
    assert "'numclasses' is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("numclasses", "many", "whole number"),
        ("numclasses", "0", "at least 1"),
        ("numclasses", "1_2", "whole number"),
        ("firstlayerindex", "-1", "at least 0"),
        ("lastlayerindex", "-3", "at least -2"),
        ("baseimgsize", "1.5", "whole number"),
        ("epsstab", "-0.1", "at least 0"),
        ("epsstab", "nan", "must be a number"),
        ("epsstab", "1_0", "must be a number"),
        ("epsstab", "1e31", "at most 1e+30"),
        ("alphabeta_beta", "inf", "must be a number"),
        ("relpropformulatype", "1.5", "the number or the name of a formula, such as 100 or epsilon-plus"),
        ("relpropformulatype", "../gamma", "the number or the name of a formula"),
        ("alphabeta_beta", "one", "must be a number"),
        ("use_mean_file_asbinaryprotoblob", "3", "one of 0, 1, 2"),
        ("quirks", "fixed", "one of reference, corrected"),
    ],
)
def test_a_bad_value_is_reported_with_line_key_and_reason(
    tmp_path: Path, key: str, value: str, complaint: str
) -> None:
    path = write(tmp_path, **{key: value})
    line = path.read_text().split("\n").index(key) + 2
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert f"{path}: line {line}:" in str(caught.value)
    assert key in str(caught.value)
    assert complaint in str(caught.value)


def test_a_formula_has_a_number_or_a_name(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, relpropformulatype="+26")).formula == 26
    assert read_config(write(tmp_path, relpropformulatype="epsilon-plus")).formula == "epsilon-plus"


def test_gamma_is_a_quarter_unless_given(tmp_path: Path) -> None:
    assert read_config(write(tmp_path)).gamma == 0.25
    body = write(tmp_path).read_text()
    assert read_config(write(tmp_path, f"gamma\n0.5\n{body}")).gamma == 0.5
    with pytest.raises(ConfigError, match="the value '-1' of 'gamma' must be at least 0"):
        read_config(write(tmp_path, f"gamma\n-1\n{body}"))
    with pytest.raises(ConfigError, match=r"'gamma 0\.5' is read as a comment; write the key 'gamma'"):
        read_config(write(tmp_path, f"gamma 0.5\n{body}"))


def test_a_key_without_a_value_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no value below the key 'epsstab'"):
        read_config(write(tmp_path, epsstab="   "))


def test_a_key_on_the_last_line_is_reported(tmp_path: Path) -> None:
    body = write(tmp_path, epsstab=None).read_text()
    with pytest.raises(ConfigError, match="no value below the key 'epsstab'"):
        read_config(write(tmp_path, body + "epsstab"))


def test_our_optional_key_must_stand_alone_on_its_line(tmp_path: Path) -> None:
    body = write(tmp_path).read_text()
    assert read_config(write(tmp_path, "quirks of this net\n\n" + body)).quirks == "reference"
    assert read_config(write(tmp_path, "quirks\ncorrected\n" + body)).quirks == "corrected"


def test_overrides_replace_values_and_stand_in_for_missing_ones(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, epsstab=None), {"epsilon": 0.5, "formula": 2})
    assert (config.epsilon, config.formula) == (0.5, 2)


def test_the_place_of_every_value_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path)
    config = read_config(path, {"formula": 2})
    assert config.location_of("prototxt") == f"{path}: line 2"
    assert config.location_of("mean_file") == f"{path}: line 8"
    assert config.location_of("formula") == "command line"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("modelfile", "'model_file' is missing .*; write 'model_file' in line 4 instead of 'modelfile'"),
        ("Model_File", "write 'model_file' in line 4 instead of 'Model_File'"),
        ("weights", "'model_file' is missing .*; add it and its value"),
    ],
)
def test_a_misspelt_key_is_found(tmp_path: Path, wrong: str, complaint: str) -> None:
    body = write(tmp_path).read_text()
    with pytest.raises(ConfigError, match=complaint):
        read_config(write(tmp_path, body.replace("model_file", wrong)))


@pytest.mark.parametrize(
    "line",
    [
        "quirks: corrected",
        "quirk\ncorrected",
        "Quirks = corrected",
        "quirks corrected",
        "  QUIRKS=reference  ",
        "quirks:\n corrected",
    ],
)
def test_our_optional_key_is_not_taken_for_a_comment_unnoticed(tmp_path: Path, line: str) -> None:
    body = write(tmp_path).read_text()
    with pytest.raises(ConfigError, match=r"line 1: .* is read as a comment"):
        read_config(write(tmp_path, f"{line}\n{body}"))


@pytest.mark.parametrize(
    "comment",
    [
        "#quirks\ncorrected",
        "#quirks: corrected",
        "//quirks corrected",
        ";quirks corrected",
        "Quirks: reference is the default",
        "quirks corrected = yes",
        "quirk\ncorrected or reference",
        "quirks: none",
        "quiet: corrected",
    ],
)
def test_comments_about_our_optional_key_stay_comments(tmp_path: Path, comment: str) -> None:
    body = write(tmp_path).read_text()
    assert read_config(write(tmp_path, f"{comment}\n{body}")).quirks == "reference"


def test_values_may_be_called_like_keys(tmp_path: Path) -> None:
    for name in ("mean_file", "param_file:0"):
        (tmp_path / name).touch()
    changes = {"mean_file": "mean_file", "param_file": "param_file:0", "standalone_outpath": "quirks:1"}
    config = read_config(write(tmp_path, **changes))
    assert config.mean_file == tmp_path / "mean_file"
    assert config.prototxt == tmp_path / "param_file:0"
    assert config.output_root == "quirks:1"


@pytest.mark.parametrize("key", ["param_file", "numclasses", "epsstab", "relpropformulatype"])
@pytest.mark.parametrize("name", ["quirks:1", "numclasses=5", "epsstab", "gamma"])
def test_the_name_of_a_key_is_no_value_where_it_cannot_be_one(tmp_path: Path, key: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"no value below the key '{key}'"):
        read_config(write(tmp_path, **{key: name}))


def test_the_line_most_like_a_missing_key_is_named(tmp_path: Path) -> None:
    body = write(tmp_path, model_file=None).read_text()
    with pytest.raises(ConfigError, match="write 'model_file' in line 2 instead of 'modelfile = x'"):
        read_config(write(tmp_path, f"modfile\nmodelfile = x\n{body}"))
    with pytest.raises(ConfigError, match="write 'model_file' in line 1 instead of 'modfile'"):
        read_config(write(tmp_path, f"modfile\n{body}"))
    for other in ("model", "my_file", "mean_file", "#model_file"):
        with pytest.raises(ConfigError, match=r"'model_file' is missing .*; add it"):
            read_config(write(tmp_path, f"{other}\n{body}"))


def test_misspelt_keys_are_looked_for_where_a_config_can_be_expected_to_have_them(tmp_path: Path) -> None:
    body = write(tmp_path, model_file=None).read_text()
    for filling, advice in (("a comment\n" * 100, "line 1[0-9]+ instead of"), ("\n" * 2000, "add it")):
        with pytest.raises(ConfigError, match=f"'model_file' is missing .*{advice}"):
            read_config(write(tmp_path, f"{filling}modelfile\n{body}"))


@pytest.mark.parametrize("beginning", ["<!-- a comment -->", "<?xml version='1.0'?>", "GIF89a", "\0\1"])
def test_a_config_may_begin_as_other_files_do(tmp_path: Path, beginning: str) -> None:
    body = write(tmp_path).read_text()
    assert read_config(write(tmp_path, f"{beginning}\n{body}")).formula == 100


@pytest.mark.parametrize(
    ("content", "kind"), [("<!DOCTYPE html>\n", "a web page"), ("\x89HDF\r\n\x1a\n", "an HDF5 file")]
)
def test_another_file_given_as_config_is_named(tmp_path: Path, content: str, kind: str) -> None:
    path = tmp_path / "config.txt"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=f"is {kind}.*, not a config file; "):
        read_config(path)


@pytest.mark.parametrize("sign", [" ", ": ", " = ", "="])
def test_keys_and_values_on_one_line_are_refused(tmp_path: Path, sign: str) -> None:
    lines = [f"{key}{sign}{value}" for key, value in VALUES.items()]
    with pytest.raises(ConfigError, match="no value below the key 'param_file'"):
        read_config(write(tmp_path, "\n".join(lines)))


def test_a_path_with_a_blank_is_refused_if_there_is_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "my net.prototxt").touch()
    with pytest.raises(ConfigError, match="line 2: the value 'my' of 'param_file' ends at its first space"):
        read_config(write(tmp_path, param_file="my net.prototxt"))
    (tmp_path / "my").touch()
    assert read_config(write(tmp_path, param_file="my net.prototxt")).prototxt == tmp_path / "my"


def test_paths_are_looked_up_in_the_current_folder_first_then_in_that_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, here = tmp_path / "configs", tmp_path / "here"
    beside.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    for folder, name in ((beside, "net.prototxt"), (here, "net.prototxt"), (beside, "synset.txt")):
        (folder / name).touch()
    config = read_config(write(beside))
    assert config.prototxt == Path("net.prototxt")
    assert config.synset_file == beside / "synset.txt"
    assert config.caffemodel == Path("net.caffemodel")


def test_every_attribute_has_exactly_one_key() -> None:
    assert sorted(key.attribute for key in KEYS) == sorted(
        HeatmapConfig.__dataclass_fields__.keys() - {"places", "picture"}
    )


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / name)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_bytes(b"\x0a\x04tiny\xa2\x06\x00")
    with pytest.raises(ConfigError, match="is a binary file, not a config file"):
        read_config(path)


@pytest.mark.slow
@given(st.text(max_size=300))
def test_no_text_causes_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(ConfigError):
        read_config(path)


def test_comments_and_paths_in_other_encodings_are_accepted(tmp_path: Path) -> None:
    body = write(tmp_path).read_bytes().replace(b"net.prototxt", b"caf\xe9.prototxt")
    path = tmp_path / "config.txt"
    path.write_bytes(b"Gr\xf6\xdfe\n" + body)
    assert bytes(read_config(path).prototxt) == b"caf\xe9.prototxt"


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    with path.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        read_config(path)


def test_a_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        read_config(Path("/dev/zero"))


# --- What the reference does not know -----------------------------------------------------------------------


def test_layers_may_be_named(tmp_path: Path) -> None:
    names = {"lastlayerindex": "auto", "firstlayerindex": "conv1/3x3", SWITCH: "conv2"}
    config = read_config(write(tmp_path, **names))
    assert (config.start_layer, config.first_layer, config.switch_layer) == ("auto", "conv1/3x3", "conv2")


def test_layers_may_be_called_like_our_own_keys_but_not_like_those_of_the_reference(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, lastlayerindex="crop")).start_layer == "crop"
    with pytest.raises(ConfigError, match="no value below the key 'lastlayerindex'"):
        read_config(write(tmp_path, lastlayerindex="firstlayerindex"))


def test_the_input_may_be_described(tmp_path: Path) -> None:
    body = write(tmp_path, mean_file=None, use_mean_file_asbinaryprotoblob=None).read_text()
    own = "mean_values\n104,117.5,123\ninput_scale\n0.017\nchannel_order\nRGB\nresize\nstretch\n"
    config = read_config(write(tmp_path, f"{own}input_size\n224x300\ncrop\ncenter\n{body}"))
    assert (config.mean_values, config.mean_file) == ((104.0, 117.5, 123.0), None)
    assert (config.input_scale, config.channel_order, config.resize) == (0.017, "RGB", "stretch")
    assert (config.input_size, config.crop) == ((224, 300), "center")


def test_the_input_may_be_divided_by_numbers_but_not_be_scaled_as_well(tmp_path: Path) -> None:
    body = write(tmp_path).read_text()
    config = read_config(write(tmp_path, f"std_values\n58.4,57.1,57.4\n{body}"))
    assert config.std_values == (58.4, 57.1, 57.4)
    with pytest.raises(ConfigError, match=r"line 4: .* of 'std_values' must be more than 0"):
        read_config(write(tmp_path, f"input_size\n9x9\nstd_values\n58.4,0,57.4\n{body}"))
    with pytest.raises(
        ConfigError, match="line 2: std_values is given together with input_scale; keep only one of the two"
    ):
        read_config(write(tmp_path, f"std_values\n58.4\ninput_scale\n0.5\n{body}"))


def test_without_any_of_it_all_is_as_in_the_reference(tmp_path: Path) -> None:
    config = read_config(write(tmp_path))
    assert (config.mean_values, config.input_scale, config.input_size) == (None, None, None)
    assert (config.channel_order, config.resize, config.base_size) == ("BGR", "reference", 72)


def test_a_text_file_needs_one_mean_and_not_two(tmp_path: Path) -> None:
    body = write(tmp_path).read_text()
    with pytest.raises(
        ConfigError, match="line 2: mean_values is given together with mean_file; keep only one"
    ):
        read_config(write(tmp_path, f"mean_values\n0\n{body}"))
    with pytest.raises(ConfigError, match="'mean_file' is missing"):
        read_config(write(tmp_path, mean_file=None))


def test_a_head_may_be_chosen(tmp_path: Path) -> None:
    body = write(tmp_path).read_text()
    assert read_config(write(tmp_path, body)).head is None
    assert read_config(write(tmp_path, f"head\nloss3/loss3 trailing words\n{body}")).head == "loss3/loss3"
    config = read_config(write(tmp_path, f"head\ncrop\n{body}"))
    assert (config.head, config.crop) == ("crop", "center")
    for line in ("head: prob", "head prob", "head = prob"):
        with pytest.raises(ConfigError, match=r"line 1: .* is read as a comment"):
            read_config(write(tmp_path, f"{line}\n{body}"))


@pytest.mark.parametrize(
    "comment",
    [
        "Heads of the net", "Header", "# head", "Heads\n\n", "head: age or sex", "Header\n-------",
        "heads\nhere", "header: mine", "Head section", "head -", "head", "head\n",
    ],
)  # fmt: skip
def test_comments_about_heads_stay_comments(tmp_path: Path, comment: str) -> None:
    body = write(tmp_path).read_text()
    assert read_config(write(tmp_path, f"{comment}\n{body}")).head is None


@pytest.mark.parametrize("value", ["crop", "resize", "quirks", "input_scale", "head"])
def test_a_folder_may_be_called_like_our_own_keys(tmp_path: Path, value: str) -> None:
    config = read_config(write(tmp_path, standalone_rootpath=value, standalone_outpath=value))
    assert (config.path_root, config.output_root) == (value, value)
    assert (config.crop, config.resize, config.quirks) == ("center", "reference", "reference")


@pytest.mark.parametrize(
    "line", ["resize: stretch", "channel_order RGB", "input_scale = 0.5", "mean_value\n3"]
)
def test_our_own_keys_are_not_taken_for_comments_unnoticed(tmp_path: Path, line: str) -> None:
    body = write(tmp_path).read_text()
    with pytest.raises(ConfigError, match=r"line 1: .* is read as a comment"):
        read_config(write(tmp_path, f"{line}\n{body}"))


def test_a_start_vector_is_words_or_a_file_beside_the_config(tmp_path: Path) -> None:
    assert read_config(write(tmp_path)).start_vector is None
    body = write(tmp_path).read_text()
    words = read_config(write(tmp_path, f"start_vector\nweights:281=1,285=-0.5\n{body}"))
    assert words.start_vector == "weights:281=1,285=-0.5"
    (tmp_path / "mine.npy").touch()
    assert (
        read_config(write(tmp_path, f"start_vector\nmine.npy\n{body}")).start_vector == tmp_path / "mine.npy"
    )
