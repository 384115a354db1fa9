"""The examples in the package's documentation are run."""

import doctest
import importlib
import inspect

import pytest
import vramkit
from vramkit import _vramkit

MODULES = ("vramkit", "vramkit.history", "vramkit.tracking", "vramkit.errors", "vramkit.ask")


def documented():
    for name in MODULES:
        module = importlib.import_module(name)
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, name, globs={"vramkit": vramkit}):
            if test.examples:
                yield test
    parser = doctest.DocTestParser()
    for name, value in vars(_vramkit).items():
        docs = [(name, inspect.getdoc(value))]
        if inspect.isclass(value):
            docs += [(f"{name}.{each}", inspect.getdoc(member)) for each, member in vars(value).items()]
        for where, text in docs:
            if text and ">>>" in text and isinstance(text, str):
                yield parser.get_doctest(text, {"vramkit": vramkit}, where, where, 0)


@pytest.mark.parametrize("test", list(documented()), ids=lambda test: test.name)
def test_an_example_is_true(test):
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS)
    assert runner.run(test).failed == 0


def test_everything_public_is_documented():
    for name in vramkit.__all__:
        value = getattr(vramkit, name)
        if name != "__version__":
            assert inspect.getdoc(value), name
        if inspect.isclass(value) and value.__module__.startswith("vramkit") and not issubclass(value, BaseException):
            for each, member in vars(value).items():
                if not each.startswith("_") and callable(member):
                    assert inspect.getdoc(member), f"{name}.{each}"
