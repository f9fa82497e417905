"""What declarations and fields need of typing, without importing typing: that takes as long as showing a field.

:class:`NamedTuple` is typing's for type checkers. While running it makes the same tuples, but compiles nothing for a
class: typing and collections compile each annotation and a constructor. A class that is generic has typing's own.
:class:`Record` is what a frozen dataclass is, without importing dataclasses and what they inspect sources with.
Of functools come what it has in C, and a cached property without a lock; itself it makes named tuples first.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from functools import cache as cache  # noqa: PLC0414
    from functools import cached_property as cached_property  # noqa: PLC0414
    from functools import lru_cache as lru_cache  # noqa: PLC0414
    from functools import partial as partial  # noqa: PLC0414
    from functools import reduce as reduce  # noqa: PLC0414
    from importlib import import_module as import_module  # noqa: PLC0414
    from typing import Any, Self, dataclass_transform
    from typing import Generic as Generic  # noqa: PLC0414
    from typing import Literal as Literal  # noqa: PLC0414
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
    from typing import Protocol as Protocol  # noqa: PLC0414
    from typing import TypedDict as TypedDict  # noqa: PLC0414
    from typing import TypeVar as TypeVar  # noqa: PLC0414

    @dataclass_transform(kw_only_default=True, frozen_default=True)
    class Record:
        """Fields by name, inherited ones first; never changed. What stands beside a field is its default."""

        def replaced(self, **changed: Any) -> Self:
            """The same with some fields changed. Raises TypeError for one that there is not."""

        @classmethod
        def field_names(cls) -> tuple[str, ...]:
            """The fields in their order."""

else:
    from _collections import _tuplegetter
    from _functools import _lru_cache_wrapper, partial, reduce  # noqa: F401

    #: Stands for a value that a field has to be given.
    _MISSING = object()

    class Protocol:
        """What a class has to have is for type checkers."""

        __slots__ = ()

    class Generic:
        """Of which kind is for type checkers."""

        __slots__ = ()

        def __class_getitem__(cls, kind):  # noqa: ANN001, ANN204
            return cls

    #: Which words is for type checkers.
    Literal = Generic

    def TypeVar(name, *, bound=None):  # noqa: ANN001, ANN201, ARG001, N802
        """A name for type checkers."""
        return name

    class Record:
        """See above."""

        _names = ()
        #: Each field's default, in the order of the fields; _MISSING where it has none.
        _blank = {}  # noqa: RUF012

        def __init_subclass__(cls) -> None:
            cls._names = tuple(dict.fromkeys((*cls._names, *vars(cls).get("__annotations__", ()))))
            cls._blank = {name: getattr(cls, name, _MISSING) for name in cls._names}

        def __init__(self, **values) -> None:  # noqa: ANN003
            self._fill(self._blank, values)

        def _fill(self, fields, values) -> None:  # noqa: ANN001
            found = {**fields, **values}
            if len(found) > len(self._names) or any(value is _MISSING for value in found.values()):
                raise TypeError(f"{type(self).__name__} has the fields {', '.join(self._names)}")
            self.__dict__.update(found)

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"{type(self).__name__}.{name} is not to be changed")

        def __eq__(self, other: object) -> bool:
            return type(self) is type(other) and self.__dict__ == other.__dict__

        def __hash__(self) -> int:
            return hash(tuple(self.__dict__.values()))

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

        def replaced(self, **changed) -> Record:  # noqa: ANN003, D102
            made = object.__new__(type(self))
            made._fill(self.__dict__, changed)
            return made

        @classmethod
        def field_names(cls) -> tuple[str, ...]:  # noqa: D102
            return cls._names

    class TypedDict(dict):
        """A dictionary of known keys: which ones is for type checkers."""

        def __init_subclass__(cls, *, total: bool = True) -> None:
            pass

    def import_module(name):  # noqa: ANN001, ANN201
        """importlib's, for absolute names; importlib imports warnings first."""
        return __import__(name, fromlist=("__name__",))

    class cached_property:  # noqa: N801
        """What a method gives, kept in the object."""

        def __init__(self, method) -> None:  # noqa: ANN001
            self.method = method
            self.__doc__ = method.__doc__

        def __set_name__(self, owner, name) -> None:  # noqa: ANN001
            self.name = name

        def __get__(self, instance, owner=None):  # noqa: ANN001, ANN204
            if instance is None:
                return self
            found = instance.__dict__[self.name] = self.method(instance)
            return found

    #: After so many tuples of a class its constructor is compiled: 50 us, given back by the next thousand.
    _WORTH_COMPILING = 256

    class _Meta(type):
        """Makes a field of each annotation of a class that names NamedTuple as its base."""

        def __new__(meta, name, bases, body):  # noqa: ANN001, ANN204
            if tuple in bases or NamedTuple not in bases:
                return super().__new__(meta, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body[field] for field in fields if field in body}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one that has it")
            body.update((field, _tuplegetter(at, None)) for at, field in enumerate(fields))
            body |= {"__slots__": (), "_fields": fields, "_field_defaults": defaults, "__match_args__": fields}
            required = len(fields) - len(defaults)
            body |= {"_required": required, "_tail": (*[_MISSING] * required, *defaults.values())}
            body["__new__"] = _constructor(len(fields))
            body["_places"] = {field: at for at, field in enumerate(fields)}
            return super().__new__(meta, name, bases, body)

    def _constructor(count):  # noqa: ANN001, ANN202
        made = 0

        def __new__(cls, *values, **named):  # noqa: ANN001, ANN002, ANN003, ANN202, N807
            nonlocal made
            made += 1
            if made == _WORTH_COMPILING:
                cls._compile()
            if len(values) != count or named:
                values = cls._filled(values, named)
            return tuple.__new__(cls, values)

        return __new__

    class NamedTuple(tuple, metaclass=_Meta):
        """See the module."""

        __slots__ = ()
        _fields = ()
        _field_defaults = {}  # noqa: RUF012

        @classmethod
        def _compile(cls):  # noqa: ANN206
            """The constructor that collections compiles, for a class of which there are many."""
            names = "".join(f"{field}, " for field in cls._fields)
            made = eval(f"lambda _cls, {names}: _new(_cls, ({names}))", {"_new": tuple.__new__})  # noqa: S307
            made.__defaults__ = tuple(cls._field_defaults.values())
            cls.__new__ = made

        @classmethod
        def _filled(cls, values, named):  # noqa: ANN001, ANN206
            """All values in order, of some in order, some by name, and defaults. Raises TypeError."""
            found = [*values, *cls._tail[len(values) :]]
            for name, value in named.items():
                at = cls._places.get(name, -1)
                if at < len(values):
                    raise TypeError(f"{cls.__name__}: {name} is no field, or given twice")
                found[at] = value
            if len(values) > len(cls._fields) or any(value is _MISSING for value in found[: cls._required]):
                raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
            return found

        @classmethod
        def _make(cls, values):  # noqa: ANN001, ANN206
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
            return made

        def _replace(self, **named):  # noqa: ANN003, ANN202
            made = tuple.__new__(type(self), map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"{type(self).__name__} has no field {next(iter(named))!r}")
            return made

        def _asdict(self):  # noqa: ANN202
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):  # noqa: ANN204
            shown = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({shown})"

        def __getnewargs__(self):  # noqa: ANN204
            return tuple(self)

    class _CacheInfo(NamedTuple):
        """How a cache was used, as functools tells it."""

        hits: int
        misses: int
        maxsize: int | None
        currsize: int

    def lru_cache(maxsize=128, typed=False):  # noqa: ANN001, ANN201, FBT002
        """Keeps the last answers of a function."""

        def kept(function):  # noqa: ANN001, ANN202
            made = _lru_cache_wrapper(function, maxsize, typed, _CacheInfo)
            for name in ("__module__", "__name__", "__qualname__", "__doc__"):
                setattr(made, name, getattr(function, name))
            made.__wrapped__ = function
            return made

        return kept

    def cache(function):  # noqa: ANN001, ANN201
        """Keeps every answer of a function."""
        return lru_cache(maxsize=None)(function)
