"""The house rules that a machine can check."""

import ast
from pathlib import Path

import pytest

import caffe_lrp

PACKAGE = Path(caffe_lrp.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "caffe_pb2.py")

#: Part of the package -> the parts it may import, besides itself.
ARROWS: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "batch": {
        "__init__",
        "config",
        "engines",
        "errors",
        "files",
        "formats",
        "imaging",
        "kernels",
        "layers",
        "machine",
        "messages",
        "model",
        "net",
        "outputs",
        "quirks",
        "relevance",
        "sources",
    },
    "cli": {
        "__init__",
        "batch",
        "config",
        "errors",
        "files",
        "formats",
        "inspection",
        "kernels",
        "machine",
        "messages",
        "model",
        "net",
        "outputs",
        "quirks",
        "relevance",
        "sources",
    },
    "compute": {"kernels", "machine"},
    "config": {"errors", "files", "messages", "quirks"},
    "engines": {"compute", "kernels", "layers", "net", "relevance"},
    "errors": set(),
    "files": {"errors", "machine", "messages"},
    "formats": {"errors", "files", "messages"},
    "imaging": {"errors", "files", "formats", "kernels", "machine", "quirks"},
    "inspection": {"errors", "formats", "layers", "net", "quirks", "relevance"},
    "kernels": {"errors", "files", "messages"},
    "layers": {"compute", "errors", "formats", "kernels", "messages"},
    "machine": {"errors"},
    "messages": set(),
    "model": {"formats", "kernels", "net", "quirks", "relevance", "rendering"},
    "net": {"compute", "errors", "formats", "kernels", "layers", "machine", "messages"},
    "outputs": {"errors", "files", "kernels", "machine", "messages", "rendering"},
    "quirks": set(),
    "relevance": {"compute", "errors", "kernels", "layers", "messages", "net", "quirks"},
    "rendering": {"errors", "kernels"},
    "sources": {"errors", "files", "messages"},
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    for name in imported_modules(path):
        if not name.startswith("caffe_lrp"):
            continue
        target = name.split(".")[1] if "." in name else "__init__"
        target = "__init__" if target == "__version__" else target
        assert target == part or target in ARROWS[part], f"{part} imports {name}"


@pytest.mark.parametrize(
    ("compiler", "users"),
    [
        ("numba", ["_jit"]),
        (
            "llvmlite",
            ["_jit", "_neighbours", "_quotients", "_scatter", "_simd", "_tiles", "_windows", "_winograd"],
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


#: Kernels that know packings, panels, tiles or what fits a cache; `Blob`, the type of arrays, is everyone's.
BEHIND_COMPUTE = {"adjoint", "convolution", "gemm", "identity", "packing", "passes", "winograd"}
COMMON_NAMES = {("gemm", "Blob")}


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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_how_the_cpu_packs_and_tiles_is_known_to_compute_alone(path: Path) -> None:
    """Others call kernels that take plain arrays; the command line asks where compiled kernels are kept."""
    part = part_of(path)
    if part in {"kernels", "compute"}:
        return
    for module, name in imported_kernels(path):
        is_private = module.startswith("_") and (part, module) != ("cli", "_jit")
        is_behind = module in BEHIND_COMPUTE and (module, name) not in COMMON_NAMES
        assert not is_private and not is_behind, f"{part} imports {name or module} of kernels"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, f"{node.name} is too long"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls or path.name == "terminal.py"
