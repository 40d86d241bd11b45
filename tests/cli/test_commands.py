"""The table of commands and the modules beside it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run, run_process

from caffe_lrp.cli import commands
from caffe_lrp.cli.commands import COMMANDS, RUN_LIST, Command, parser_of, summaries
from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.cli.main import main
from caffe_lrp.errors import ExitCode

#: Prints the help of every command, and what has been loaded by then.
HELPS = """
import json, sys
from caffe_lrp.cli.commands import COMMANDS
from caffe_lrp.cli.main import main
codes = [main(["--help"]), main(["help"]), *(main([name, "--help"]) for name in COMMANDS)]
print(json.dumps([codes, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
SLOW_TO_LOAD = {"PIL", "cv2", "distributed", "google", "h5py", "llvmlite", "numba", "numpy", "tqdm"}


def test_the_table_has_every_module_of_the_folder() -> None:
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert {command.module for command in (RUN_LIST, *COMMANDS.values())} == modules


@pytest.mark.parametrize("command", [RUN_LIST, *COMMANDS.values()], ids=lambda command: command.module)
def test_a_module_tells_its_purpose_its_arguments_and_does_the_work(command: Command) -> None:
    module = command.load()
    assert module.HELP.endswith(".")
    assert "\n" not in module.HELP
    assert callable(module.add_arguments)
    assert callable(module.run)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_its_own_that_fits_a_terminal(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: caffe-lrp {name} ")
    assert COMMANDS[name].load().HELP in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert text == parser_of(name).format_help()


def test_the_help_has_a_line_for_every_command() -> None:
    lines = list_parser().format_help().splitlines()
    for name, summary in summaries().items():
        assert [line.split(maxsplit=1) for line in lines].count([name, summary]) == 1


def test_a_help_waits_for_none_of_the_libraries() -> None:
    result = subprocess.run([sys.executable, "-c", HELPS], capture_output=True, text=True, check=True)
    codes, loaded = json.loads(result.stdout.splitlines()[-1])
    assert codes == [0] * (2 + len(COMMANDS))
    assert SLOW_TO_LOAD.isdisjoint(loaded)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("explain", "models/vgg.prototxt", "none.caffemodel", "images/none.png"), ExitCode.BAD_INPUT),
        (("inspect", "models/vgg.prototxt"), ExitCode.DONE),
        (("status", "images"), ExitCode.OUTPUT),
        (("merge", "{out}/maps.h5", "none.h5"), ExitCode.BAD_INPUT),
        (("convert-config", "configs/vgg_2_eps1_beta1_aux4.txt", "{out}/config.yaml"), ExitCode.DONE),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_loads_in_a_process_of_its_own_whatever_it_needs(
    arguments: tuple[str, ...], code: ExitCode, tmp_path: Path
) -> None:
    results = []
    for runner, out in ((run, tmp_path / "here"), (run_process, tmp_path / "there")):
        out.mkdir()
        result = runner(*(argument.format(out=out) for argument in arguments))
        assert result.returncode == code
        results.append([text.replace(str(out), "") for text in (result.stdout, result.stderr)])
    assert results[0] == results[1]
