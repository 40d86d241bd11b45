"""How Numba compiles kernels: each one together with all functions that it calls.

By default Numba optimises every function and generates machine code for it, and does both again in
every function that calls it. That took half the time of a first run. Here, Numba only translates a function
that kernels call; it is optimised once, as a part of each kernel.
"""

from typing import Any

from ._jit import (
    Compiler,
    DefaultPassBuilder,
    NativeLowering,
    PassManager,
    codegen,
    lookup_environment,
    register_pass,
)

#: Prefix of the variables in compiled code that refer to the module of a function.
_ENVIRONMENT = "_ZN08NumbaEnv"


class _Unit(codegen.JITCodeLibrary):
    """Code that is optimised only as a whole."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _Part(_Unit):
    """The code of a function that kernels call."""

    def finalize(self) -> None:
        """Do nothing: the kernel is optimised as a whole."""
        self._finalized = True


class _Whole(_Unit):
    """The code of a kernel."""

    def finalize(self) -> None:
        """Link the kernel with all its parts, and their parts, and generate machine code."""
        found = dict.fromkeys(self._linking_libraries)
        unseen = list(found)
        while unseen:
            new = [part for part in unseen.pop()._linking_libraries if part not in found]
            found.update(dict.fromkeys(new))
            unseen += new
        self._linking_libraries = list(found)
        super().finalize()  # type: ignore[no-untyped-call]


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerPart(NativeLowering):
    """Translate a function that only kernels and their helpers call."""

    _name = "part_of_kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        """See `NativeLowering`."""
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)  # type: ignore[no-untyped-call]
        lowered = state["cr"]
        state.library.finalize()
        # Callers find the code by a key. Numba uses the function for Python; there is none here.
        key = object()
        state.targetctx.insert_user_function(key, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=key)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerWhole(NativeLowering):
    """Translate a kernel, and generate machine code for it and its parts."""

    _name = "kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        """See `NativeLowering`."""
        generator = state.targetctx.codegen()
        state.library = _Whole(generator, state.func_id.func_qualname)
        state.library.enable_object_caching()
        super().run_pass(state)  # type: ignore[no-untyped-call]
        for variable in state.library._final_module.global_variables:
            if variable.name.startswith(_ENVIRONMENT):
                environment = lookup_environment(variable.name)
                if environment is not None:
                    generator.set_env(variable.name, environment)
        return True


class _OwnLowering(Compiler):
    """Numba's compiler, with the pass that generates machine code replaced."""

    lowering: type

    def define_pipelines(self) -> list[Any]:
        """See `Compiler`."""
        manager = PassManager(self.lowering.__name__)
        for step, description in DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
            manager.add_pass(self.lowering if step is NativeLowering else step, description)
        manager.finalize()
        return [manager]


class PartCompiler(_OwnLowering):
    """Compiles functions that kernels call."""

    lowering = _LowerPart


class KernelCompiler(_OwnLowering):
    """Compiles kernels."""

    lowering = _LowerWhole
