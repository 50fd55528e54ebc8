"""The fenced code blocks of the documentation, and how each of them is tested.

A block of YAML, Python or a shell script is checked without a word. Any other one needs a mark, a comment in the line
above it that nobody sees on the rendered page. `HOW` lists the marks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CHECKED = ("yaml", "python", "sh")
"""Languages of blocks that are checked without a mark."""

RUNS = ("server", "controller", "checkout")
"""Where the commands of a block can run: the first two in tests/integration, the last one in tests/unit."""

HOW = """\
  <!-- run: server -->                its commands run on a server that has the application `shop`
  <!-- run: controller -->            its commands run on your machine, in a checkout, with the inventory of the README
  <!-- run: checkout -->              the same, and they need no server
  <!-- run: tests/unit/test_x.py -->  that test does what the block says
  <!-- said by: plugins/x.py -->      output, whose words stand in that file or in these (A, B)
  <!-- same as: README.md -->         a block with the same commands or data stands there
  <!-- not run: REASON -->            nothing tests it, for a reason"""

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w-]*)")
_MARK = re.compile(r" *<!-- *(?P<kind>run|not run|said by|same as): *(?P<what>.*?) *-->")


def pages() -> list[Path]:
    """All pages of the documentation."""
    patterns = ("*.md", "docs/**/*.md", "examples/README.md", "examples/*/README.md", "roles/*/README.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


@dataclass(frozen=True)
class Block:
    """A code block of a page; `line` is that of its opening fence. Without a mark it has neither kind nor `what`."""

    page: Path
    line: int
    language: str
    text: str
    kind: str = ""
    what: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Commands of a console session, without prompts and comments."""
        found: list[str] = []
        goes_on = False
        for line in self.text.splitlines():
            if goes_on:
                found[-1] += "\n" + line.rstrip()
            elif line.startswith("$ "):
                found.append(line[2:].rstrip())
            else:
                continue
            goes_on = line.endswith("\\")
        return [re.sub(r"\s+# .*$", "", command) for command in found]

    @property
    def output(self) -> list[str]:
        """What else a console session shows, line by line."""
        text = re.sub(r"^\$ (.*\\\n)*.*\n?", "", self.text, flags=re.MULTILINE)
        return [line for line in text.splitlines() if line.strip() and not re.fullmatch(r"\s*\[(\.\.\.|…)\]", line)]


def blocks(page: Path) -> list[Block]:
    """Code blocks of a page.

    Raises `ValueError` where a block doesn't end, or a mark belongs to none.
    """
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    mark: re.Match[str] | None = None
    numbers: Iterator[tuple[int, str]] = iter(enumerate(lines, start=1))
    for number, line in numbers:
        fence = _FENCE.match(line)
        if mark and not fence:
            raise ValueError(f"{page}:{number - 1}: a mark belongs into the line directly above a code block")
        if fence:
            inside: list[str] = []
            for _number, text in numbers:
                if text.strip() == fence["fence"]:
                    break
                inside.append(text.removeprefix(fence["indent"]))
            else:
                raise ValueError(f"{page}:{number}: this code block doesn't end")
            kind, what = (mark["kind"], mark["what"]) if mark else ("", "")
            found.append(Block(page, number, fence["language"], "\n".join(inside) + "\n", kind, what))
        mark = _MARK.fullmatch(line)
    if mark:
        raise ValueError(f"{page}:{len(lines)}: a mark belongs into the line directly above a code block")
    return found


def mark_problem(block: Block) -> str | None:
    """Tell what is wrong with the mark of a block, or that it needs one."""
    if not block.kind:
        if block.language in CHECKED:
            return None
        return f"nothing tests this block. Say how it is tested, in the line above it:\n{HOW}"
    if not block.what:
        return f"the mark `{block.kind}` says nothing. There are these:\n{HOW}"
    if block.kind in ("said by", "same as") or (block.kind == "run" and block.what not in RUNS):
        for name in block.what.split(", "):
            path, _colons, test = name.partition("::")
            if not (ROOT / path).is_file():
                return f"the mark names {path}, which is not there. There are these marks:\n{HOW}"
            if test and f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8"):
                return f"the mark names {test}, which is not in {path}"
        if block.kind == "run" and not block.what.startswith("tests/"):
            return f"the mark names {block.what}, which is no test. There are these marks:\n{HOW}"
    if block.kind == "run" and block.what in RUNS and (block.language != "console" or not block.commands):
        return "only a `console` block with lines that begin with `$ ` can run"
    return None


def unsaid(text: str, sources: str) -> list[str]:
    """Lines of a sample whose words don't stand in the sources: less than half of them, in threes.

    Loosely: names and numbers differ, and a line with less than three words says nothing.
    """
    known = _words(sources)
    triples = set(zip(known, known[1:], known[2:], strict=False))
    missing = []
    for line in text.splitlines():
        words = _words(line)
        covered: set[int] = set()
        for start in range(len(words) - 2):
            if tuple(words[start : start + 3]) in triples:
                covered |= {start, start + 1, start + 2}
        if len(words) > 2 and 2 * len(covered) < len(words):
            missing.append(line.strip())
    return missing


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_][\w'.-]*[^\W_]|[^\W\d_]", re.sub(r"[\"'`]\s*\n\s*f?[\"'`]|\\n", " ", text))


def loosely(line: str) -> str:
    """Make a pattern of a line of output, in which numbers, digests and lines of stars may differ."""
    pattern = re.escape(re.sub(r"\*{3,}", "*", " ".join(line.split())))
    pattern = re.sub(r"\b[0-9a-f]{12}\b", "[0-9a-f]{12}", pattern)
    pattern = re.sub(r"(?<![\w{])\d+(?![\w}])", r"\\d+", pattern)
    return pattern.replace("\\ ", r"\s+").replace("\\*", r"\*+")


def same(block: Block, other: Block) -> bool:
    """Tell whether two blocks say the same, whatever their comments say."""
    if block.language == other.language == "console":
        return [shlex.split(command) for command in block.commands] == [shlex.split(each) for each in other.commands]
    return _without_comments(block.text) == _without_comments(other.text)


def _without_comments(text: str) -> list[str]:
    lines = (re.sub(r"(^|\s+)# .*$", "", line) for line in text.splitlines())
    return [line for line in lines if line.strip()]
