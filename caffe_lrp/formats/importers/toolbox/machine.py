"""Reading pickles without unpickling: what they say becomes plain data, and nothing that they name is run.

A pickle is a program for a small machine with a stack. This one knows the instructions for data; where a
pickle would import a class, call it or give it a state, a `Named`, `Made` or `Made.state` says so.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caffe_lrp.errors import ModelError

#: Instructions of a file; that of a net of a hundred modules has some ten thousand.
_MOST_INSTRUCTIONS = 1_000_000
_LONGEST_QUOTE = 80


@dataclass(frozen=True)
class Named:
    """A class or function that the pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        """Its full name, as messages have it."""
        return f"{self.module}.{self.name}"[:_LONGEST_QUOTE]


@dataclass(eq=False)
class Made:
    """What the pickle would make by calling ``what`` with ``arguments``, and the state that it would get."""

    what: Named
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass
class _Machine:
    """Stack, marks on it, and memo.

    Attributes
    ----------
    require
        Raises an error if a name must not be in the pickle.
    """

    require: Callable[[Named], None]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def push_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        found = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(found)

    def push_named(self, module: Any, name: Any) -> None:
        named = Named(_as(str, module), _as(str, name))
        self.require(named)
        self.stack.append(named)

    def push_made(self, what: Any, arguments: tuple[Any, ...]) -> None:
        self.stack.append(Made(_as(Named, what), arguments))

    def set_items(self, pairs: list[Any]) -> None:
        target = _as(dict, self.stack[-1])
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_as(str, key)] = value


def _as(kind: type, value: Any) -> Any:
    """``value``, which must be of a kind."""
    if not isinstance(value, kind):
        raise TypeError
    return value


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _always(value: Any) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(value)


def _ignore(_: _Machine, __: Any) -> None:
    pass


def _mark(machine: _Machine, _: Any) -> None:
    machine.marks.append(len(machine.stack))


def _pop(machine: _Machine, _: Any) -> None:
    machine.pop()


def _pop_mark(machine: _Machine, _: Any) -> None:
    machine.pop_to_mark()


def _tuple_to_mark(machine: _Machine, _: Any) -> None:
    machine.stack.append(tuple(machine.pop_to_mark()))


def _list_to_mark(machine: _Machine, _: Any) -> None:
    machine.stack.append(machine.pop_to_mark())


def _dict_to_mark(machine: _Machine, _: Any) -> None:
    pairs = machine.pop_to_mark()
    machine.stack.append({})
    machine.set_items(pairs)


def _append(machine: _Machine, _: Any) -> None:
    value = machine.pop()
    _as(list, machine.stack[-1]).append(value)


def _appends(machine: _Machine, _: Any) -> None:
    values = machine.pop_to_mark()
    _as(list, machine.stack[-1]).extend(values)


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _set_items(machine: _Machine, _: Any) -> None:
    machine.set_items(machine.pop_to_mark())


def _put(machine: _Machine, place: Any) -> None:
    machine.memo[place] = machine.stack[-1]


def _memoize(machine: _Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _get(machine: _Machine, place: Any) -> None:
    machine.stack.append(machine.memo[place])


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = argument.partition(" ")
    machine.push_named(module, name)


def _stack_global(machine: _Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push_named(module, name)


def _inst(machine: _Machine, argument: Any) -> None:
    arguments = tuple(machine.pop_to_mark())
    _global(machine, argument)
    machine.push_made(machine.pop(), arguments)


def _obj(machine: _Machine, _: Any) -> None:
    what, *arguments = machine.pop_to_mark()
    machine.push_made(what, tuple(arguments))


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, what = machine.pop(), machine.pop()
    machine.push_made(what, _as(tuple, arguments))


def _build(machine: _Machine, _: Any) -> None:
    state = machine.pop()
    _as(Made, machine.stack[-1]).state = state


#: Instruction -> what it does. All others are refused.
_INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _ignore),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _push),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"), _push),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push),
    "NONE": _always(None),
    "NEWTRUE": _always(True),
    "NEWFALSE": _always(False),
    "EMPTY_TUPLE": _always(()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "TUPLE1": lambda machine, _: machine.push_tuple(1),
    "TUPLE2": lambda machine, _: machine.push_tuple(2),
    "TUPLE3": lambda machine, _: machine.push_tuple(3),
    "TUPLE": _tuple_to_mark,
    "LIST": _list_to_mark,
    "DICT": _dict_to_mark,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _inst,
    "OBJ": _obj,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _reduce),
    "BUILD": _build,
}


def content_of_pickle(content: bytes, require: Callable[[Named], None]) -> Any:
    """What a pickle says, as plain data.

    Parameters
    ----------
    content
        The file.
    require
        Called with every class and function that it names; raises ModelError for those that are refused.

    Raises
    ------
    ModelError
        It is damaged, or has instructions for something else than data.
    """
    machine = _Machine(require)
    try:
        for count, (code, argument, position) in enumerate(pickletools.genops(content)):
            if code.name == "STOP":
                return machine.pop()
            if count == _MOST_INSTRUCTIONS:
                raise ModelError(f"has more than {_MOST_INSTRUCTIONS} instructions; is it really a net?")
            if code.name not in _INSTRUCTIONS:
                raise ModelError(
                    f"has the pickle instruction {code.name} at byte {position}, which no net of the toolbox "
                    "needs; it is not opened"
                )
            _INSTRUCTIONS[code.name](machine, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as fault:
        raise ModelError("is a damaged pickle; get a complete copy of it") from fault
    raise ModelError("is a pickle that is cut short; get a complete copy of it")
