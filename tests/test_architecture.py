"""The house rules that a machine can check."""

import ast
from pathlib import Path

import pytest

import caffe_lrp

PACKAGE = Path(caffe_lrp.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "caffe_pb2.py")

FOUNDATION = {"errors", "messages", "quirks"}
#: Package -> the packages that it may import from; every package is below those that it imports.
ARROWS = {
    "errors": set[str](),
    "messages": set[str](),
    "quirks": set[str](),
    "machine": FOUNDATION,
    "files": FOUNDATION | {"machine"},
    "formats": FOUNDATION | {"files"},
    "kernels": FOUNDATION | {"files"},
    "compute": FOUNDATION | {"machine", "kernels"},
    "layers": FOUNDATION | {"formats", "kernels", "compute"},
    "net": FOUNDATION | {"machine", "formats", "kernels", "compute", "layers"},
    "relevance": FOUNDATION | {"kernels", "compute", "layers", "net"},
    "engines": FOUNDATION | {"kernels", "compute", "layers", "net", "relevance"},
    "inspection": FOUNDATION | {"formats", "layers", "net", "relevance"},
    "imaging": FOUNDATION | {"machine", "files", "formats", "kernels"},
    "rendering": FOUNDATION | {"kernels", "imaging"},
    "model": FOUNDATION
    | {"machine", "files", "formats", "kernels", "net", "relevance", "engines", "inspection", "imaging"}
    | {"rendering", "layers"},
    "toolbox": FOUNDATION | {"files", "formats", "rendering"},
    "outputs": FOUNDATION | {"machine", "files", "kernels", "imaging", "rendering", "model"},
    "config": FOUNDATION | {"machine", "files", "relevance", "rendering"},
    "sources": FOUNDATION | {"files", "relevance"},
    "__init__": FOUNDATION | {"relevance", "imaging", "rendering", "model", "config"},
    "batch": FOUNDATION
    | {"__init__", "machine", "files", "relevance", "imaging", "rendering", "model", "outputs", "sources"},
    "pycaffe": FOUNDATION
    | {"machine", "files", "formats", "compute", "layers", "net", "relevance", "engines", "imaging"},
    "cli": FOUNDATION
    | {"__init__", "machine", "files", "formats", "kernels", "net", "relevance", "inspection", "model"}
    | {"rendering", "toolbox", "outputs", "config", "sources", "batch"},
    "__main__": {"cli"},
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(path: Path) -> list[str]:
    """Absolute names of everything a module imports, nested imports included."""
    package = ["caffe_lrp", *path.relative_to(PACKAGE).parent.parts]
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(str(node.module))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            tail = [node.module] if node.module else []
            submodules = [alias.name for alias in node.names] if not tail else [""]
            names.extend(".".join([*base, *tail, name]).rstrip(".") for name in submodules)
    return names


def test_no_package_imports_one_below_it_in_the_table() -> None:
    above: set[str] = set()
    for room, known in ARROWS.items():
        assert known <= above, f"{room} imports {known - above}"
        above.add(room)
    assert above == {part_of(path) for path in MODULES}


def test_imports_go_one_way() -> None:
    for path in MODULES:
        part = part_of(path)
        for name in imported_modules(path):
            if not name.startswith("caffe_lrp"):
                continue
            target = name.split(".")[1] if "." in name else "__init__"
            target = "__init__" if target == "__version__" else target
            assert target == part or target in ARROWS[part], f"{path}: {part} imports {name}"


@pytest.mark.parametrize(
    ("compiler", "users"),
    [
        ("numba", ["_jit"]),
        (
            "llvmlite",
            [
                "_jit",
                "_neighbours",
                "_products",
                "_quotients",
                "_rows",
                "_scatter",
                "_simd",
                "_tiles",
                "_windows",
                "_winograd",
                "mirrored",
            ],
        ),
    ],
)
def test_only_a_few_kernel_modules_touch_the_compiler(compiler: str, users: list[str]) -> None:
    """The decorator of kernels, and vector instructions with what is written in them."""
    found = [
        path for path in MODULES if any(name.split(".")[0] == compiler for name in imported_modules(path))
    ]
    assert [path.relative_to(PACKAGE).as_posix() for path in found] == [
        f"kernels/{name}.py" for name in users
    ]


#: Kernels that know packings, panels, tiles or what fits a cache.
BEHIND_COMPUTE = {"adjoint", "convolution", "gemm", "identity", "packing", "passes", "winograd"}


def imported_kernels(path: Path) -> list[tuple[str, str]]:
    """Modules of kernels that a module imports from, with the names: ``("gemm", "Blob")``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                *above, last = f"{node.module}.{alias.name}".split(".")
                if above == ["caffe_lrp", "kernels"]:
                    found.append((last, ""))
                elif above[:-1] == ["caffe_lrp", "kernels"]:
                    found.append((above[-1], last))
    return found


def test_how_the_cpu_packs_and_tiles_is_known_to_compute_alone() -> None:
    """Others call kernels that take plain arrays; the command line asks where compiled kernels are kept."""
    for path in MODULES:
        part = part_of(path)
        if part in {"kernels", "compute"}:
            continue
        for module, name in imported_kernels(path):
            is_private = module.startswith("_") and (part, module) not in {("cli", "_jit"), ("model", "_jit")}
            is_behind = module in BEHIND_COMPUTE
            assert not is_private and not is_behind, f"{path}: {part} imports {name or module} of kernels"


#: Packages that ask layers for capabilities.
ASKING = ("net", "relevance", "engines", "inspection", "model")


def test_capabilities_are_declared() -> None:
    """Nobody tries whether something happens to have an attribute."""
    for path in (path for path in MODULES if part_of(path) in ASKING):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                tries = call.func.id == "hasattr" or (call.func.id == "getattr" and len(call.args) > 2)
                assert not tries, f"{path}: line {call.lineno}"


def lines_of(function: ast.FunctionDef) -> int:
    """Its lines; where it documents more parameters than others have lines, those of its body alone."""
    assert function.end_lineno is not None
    first = function.body[1].lineno if len(function.args.kwonlyargs) > 20 else function.lineno
    return function.end_lineno - first


def test_modules_and_functions_stay_small() -> None:
    for path in MODULES:
        text = path.read_text()
        assert text.count("\n") <= 400, f"{path} is too long"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert lines_of(node) < 50, f"{path}: {node.name} is too long"


def test_only_the_command_line_prints() -> None:
    for path in MODULES:
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]
        assert not calls or path.name == "terminal.py", path


def test_only_the_command_line_knows_options_and_only_it_and_the_compiler_the_environment() -> None:
    knowing = {
        word: {part_of(path) for path in MODULES if word in path.read_text()}
        for word in ("import argparse", "os.environ")
    }
    assert knowing == {"import argparse": {"cli"}, "os.environ": {"cli", "kernels"}}
