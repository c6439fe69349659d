"""The examples of README.md run, each by itself; those whose library is missing say so."""

import importlib.util
import pathlib
import re
import warnings

import pytest

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
EXAMPLES = re.findall(r"^## ([^\n]*)\n(?:(?!^## ).)*?^```python\n(.*?)^```", README.read_text(), re.M | re.S)
LIBRARIES = ("torch", "sentence_transformers", "datasets", "ray")


def test_there_are_five():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("title, code", EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_example(title, code):
    for library in LIBRARIES:
        if re.search(rf"(import|from) (hardneg\.)?{library}\b", code):
            if importlib.util.find_spec(library) is None:
                pytest.skip(f"{library} is not installed: the example {title!r} of the README was NOT RUN")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, f"README.md: {title}", "exec"), {"__name__": "__main__"})
