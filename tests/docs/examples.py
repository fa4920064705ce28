"""The examples of the how-tos: each block of code with a title is a file, which tests write and run."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

HOW_TOS = Path(__file__).parents[2] / "docs" / "how-to"

_BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Examples:
    """The files of one page, written below `folder`; `texts` are all blocks by title."""

    folder: Path
    texts: Mapping[str, str]

    @classmethod
    def of(cls, page: str, folder: Path) -> Examples:
        texts = {title: text for _, title, text in _BLOCK.findall((HOW_TOS / f"{page}.md").read_text())}
        for title, text in texts.items():
            file = folder / title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return cls(folder, texts)

    @contextmanager
    def added_to(self, package: str) -> Iterator[None]:
        """The page's modules of a package as if they were in it. What is imported meanwhile is forgotten again."""
        with pytest.MonkeyPatch.context() as patch:
            module = importlib.import_module(package)
            patch.setattr(module, "__path__", [*module.__path__, str(self.folder.joinpath(*package.split(".")))])
            importlib.invalidate_caches()
            before = set(sys.modules)
            try:
                yield
            finally:
                for name in set(sys.modules) - before:
                    if name.startswith(f"{package}."):
                        del sys.modules[name]
                        if hasattr(module, name.rpartition(".")[2]):
                            delattr(module, name.rpartition(".")[2])

    def load(self, title: str) -> ModuleType:
        """One file as a module of its own."""
        spec = importlib.util.spec_from_file_location(f"example_{Path(title).stem}", self.folder / title)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def run_tests(self, title: str) -> None:
        """Call every test of a file; `tmp_path` is the one fixture that they may have."""
        tests = [value for name, value in vars(self.load(title)).items() if name.startswith("test_")]
        assert tests
        for number, test in enumerate(tests):
            own = self.folder / f"tmp-{number}"
            own.mkdir()
            test(**({"tmp_path": own} if "tmp_path" in inspect.signature(test).parameters else {}))
