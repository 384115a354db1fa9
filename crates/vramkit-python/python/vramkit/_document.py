"""What a question of the program's is answered with: its JSON document with names and types, and how the question is asked.

```
function of ask.py ──► options ──► the program, inside ──► JSON ──► a class of reports.py
```
"""

from __future__ import annotations

import copy
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from . import _vramkit
from .errors import VramkitError, VramkitWarning

_D = TypeVar("_D", bound="Document")


class Document:
    """A part of a document: its fields are attributes, `None` where it does not have one; :meth:`to_dict` is the program's JSON."""

    __slots__ = ("_data",)

    #: Fields that are documents themselves, or lists or tables of them, and the name of their class.
    _nested: ClassVar[Mapping[str, str]] = {}
    #: Names of Python's that a field may not have, by the field's.
    _renamed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        if name not in type(self).__annotations__:
            raise AttributeError(f"{type(self).__name__!r} has no field {name!r}")
        field = self._renamed.get(name, name)
        value = self._data.get(field)
        kind = self._nested.get(field)
        if kind is None:
            return value
        return _typed(getattr(sys.modules[type(self).__module__], kind), value)

    def to_dict(self) -> dict[str, Any]:
        """The document as the program prints it with `--json`."""
        return copy.deepcopy(dict(self._data))

    def to_json(self) -> str:
        """The document as text."""
        return json.dumps(self._data)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *type(self).__annotations__})

    def __getitem__(self, name: str) -> Any:
        return self._data[name]

    def keys(self) -> Iterable[str]:
        """The names of the document's fields, as the program prints them."""
        return self._data.keys()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).__annotations__ and name not in ("is_yes", "notes"):
            raise AttributeError(f"{name!r} is what was answered, and does not change")
        super().__setattr__(name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and self._data == other._data

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        plain = {name: value for name, value in self._data.items() if not isinstance(value, list | dict)}
        shown = ", ".join(f"{name}={value!r}" for name, value in list(plain.items())[:8])
        return f"{type(self).__name__}({shown}{', …' if len(self._data) > 8 else ''})"

    def _repr_html_(self) -> str:
        import html

        def cell(name: str, value: object) -> str:
            if name.endswith("_bytes") and isinstance(value, int) and 0 <= value < 1 << 64:
                return f"{html.escape(_vramkit.format_bytes(value))} ({value:,})"
            if isinstance(value, list | dict):
                return f"{len(value)} …"
            return "not available" if value is None else html.escape(str(value))

        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td style='text-align:left'>{cell(name, value)}</td></tr>"
            for name, value in self._data.items()
        )
        return f"<table>{rows}</table>"


def _typed(kind: type[Document], value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(kind, each) for each in value]
    if not isinstance(value, dict):
        return value
    # A table by name has documents for values, and none of the kind's own names.
    if value and all(isinstance(each, dict | list) for each in value.values()) and not value.keys() & kind.__annotations__.keys():
        return {name: _typed(kind, each) for name, each in value.items()}
    return kind(value)


class Answer(Document):
    """A whole document: the answer to a question."""

    __slots__ = ("_asked", "is_yes", "notes")

    #: Whether the answer is yes: it fits, every check passed.
    is_yes: bool
    #: What is worth knowing beside it.
    notes: Sequence[str]

    def __init__(
        self,
        data: Mapping[str, Any],
        is_yes: bool = True,
        notes: Sequence[str] = (),
        asked: Sequence[str] = (),
    ) -> None:
        super().__init__(data)
        self.is_yes, self.notes, self._asked = is_yes, tuple(notes), tuple(asked)

    def __bool__(self) -> bool:
        return self.is_yes

    def _picture(self) -> str | None:
        """The picture of the document, as SVG; `None` where there is none."""
        try:
            return _vramkit.draw([self.to_json()])
        except ValueError:
            return None

    def _repr_svg_(self) -> str | None:
        return self._picture()


class Pictured(Answer):
    """An answer whose picture is drawn when the question is asked: to show it, it is asked again."""

    __slots__ = ("_svg",)

    def _picture(self) -> str | None:
        if not hasattr(self, "_svg"):
            self._svg = self._draw()
        return self._svg

    def _draw(self) -> str | None:
        if not self._asked:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "picture.svg")
            try:
                _vramkit.ask([self._asked[0], f"--svg={path}", *self._asked[1:]])
            except ValueError:
                return None
            return path.read_text() if path.exists() else None


def answer(
    command: str, kind: type[_D], positional: Iterable[Any], options: Mapping[str, Any], flags: Iterable[str] = ()
) -> _D:
    """Asks a question of the program's. `options` by their names there; `None` is left out. `flags` are those that are on or off."""
    words = [command, "--json"]
    for name, value in options.items():
        words += _flag(name, value) if name in flags else _words(f"--{name}", value)
    words.append("--")
    words += [_word(value) for value in positional]
    try:
        document, is_yes, notes = _vramkit.ask(words)
    except VramkitError as error:
        # What is an option there is a keyword here.
        text = re.sub(r"(?<![\w`-])--([a-z][a-z0-9-]*)(?: <[^>]*>)?", lambda found: _keyword(found[1]), str(error))
        error.args = (text.removesuffix("\n\nFor more information, try 'help'."),)
        raise
    for note in notes:
        warnings.warn(note, VramkitWarning, stacklevel=3)
    if not issubclass(kind, Answer):
        return kind(json.loads(document))
    return kind(json.loads(document), is_yes, notes, words)


def _words(option: str, value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        value = [f"{name}={each}" for name, each in value.items()]
    if isinstance(value, bool):
        raise TypeError(f"{_keyword(option)}={value}: a value is needed, not a truth value")
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | os.PathLike) and not getattr(value, "ndim", 1):
        # One number, as NumPy has it.
        value = value.item()  # type: ignore[attr-defined]
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | os.PathLike) and not list(value):
        raise ValueError(f"{_keyword(option)} is empty: leave it out, or give values")
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
        # One word, so that a value which begins with a dash is one.
        return [f"{option}={_word(value)}"]
    return [word for each in value for word in _words(option, each)]


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.17g}"
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Iterable):
        raise TypeError(f"a file or a value is needed, not {type(value).__name__}: give several as arguments of their own")
    return str(value)


def _flag(name: str, value: Any) -> list[str]:
    if value not in (True, False):
        raise TypeError(f"{_keyword(name)}={value!r}: True or False")
    return [f"--{name}"] if value else []


def _keyword(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
