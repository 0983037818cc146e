"""Hooks of mkdocs: pages made when the site is built, links to files of the repository, no network."""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

import commands  # noqa: E402
import gallery  # noqa: E402

import notebooks  # noqa: E402

ROOT_PAGES = {
    "LAB_NOTES.md": "lab_notes.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Pages of the site by the file at the root of the repository that they are."""

_COPIED = {".csv", ".html", ".json", ".md", ".png", ".svg"}
"""Kinds of files below papers/ that pages link to."""
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|video)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'> ]+)", re.I
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add pages of results that the navigation does not name, under their own titles."""
    results = next(section["Results"] for section in config.nav if "Results" in section)
    named = {page for entry in results for page in (entry.values() if isinstance(entry, dict) else [entry])}
    pages = [f"papers/{path.parent.name}.md" for path in sorted((ROOT / "papers").glob("*/README.md"))]
    last = max(i for i, entry in enumerate(results) if "papers/" in str(entry))
    results[last + 1 : last + 1] = [page for page in pages if page not in named]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files below docs/."""
    for name, page in _pages().items():
        files.append(File.generated(config, name, content=page))
    for path in sorted((ROOT / "papers").glob("*/**/*")):
        if path.suffix in _COPIED:
            name = path.relative_to(ROOT).as_posix()
            name = f"{name}.txt" if path.suffix == ".md" else name  # a table, not a page
            if path.name != "README.md":
                files.append(File.generated(config, name, content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to files of the repository lead to their pages, and fill in the reference of the verbs."""
    uri = page.file.src_uri
    source = SOURCES.get(uri, f"docs/{uri}")
    markdown = markdown.replace("<!-- verbs -->", commands.reference()) if uri == "cli.md" else markdown
    return _LINK.sub(
        lambda link: f"{link[1]}{_target(link[2], source, uri)}{link[3] or ''}{link[4]}", markdown
    )


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse what needs a network to be read."""
    loaded = _LOADED.findall(output)
    if loaded:
        raise PluginError(f"{page.file.src_uri}: loads {loaded[0]}; put a copy into docs/assets")
    return output


SOURCES: dict[str, str] = {}
"""Files of the repository, from its root, by the page that each one is."""


def _pages() -> dict[str, str]:
    pages = gallery.pages()
    for source, page in ROOT_PAGES.items():
        SOURCES[page] = source
    for path in sorted((ROOT / "papers").glob("*/README.md")):
        SOURCES[f"papers/{path.parent.name}.md"] = path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "benchmarks").glob("*/README.md")):
        SOURCES[f"benchmarks/{path.parent.name}.md"] = path.relative_to(ROOT).as_posix()
    for page, source in SOURCES.items():
        pages[page] = (ROOT / source).read_text()
    for path in sorted((ROOT / "examples").glob("*.py")):
        page = f"examples/{path.stem}.md"
        SOURCES[page] = path.relative_to(ROOT).as_posix()
        pages[page] = f"# {SOURCES[page]}\n\n```python\n{path.read_text()}```\n"
    for path in _notebooks():
        page = f"notebooks/{path.stem}.md"
        SOURCES[page] = path.relative_to(ROOT).as_posix()
        pages[page] = notebooks.as_markdown(path)
    return pages


def _notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def _target(link: str, source: str, uri: str) -> str:
    """Return where a link of a file leads on the site."""
    if "://" in link or link.startswith(("mailto:", "#", "<")):
        return link
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    pages = {file: page for page, file in SOURCES.items()}
    if path == "README.md":
        target = "index.md"
    elif path in pages:
        target = pages[path]
    elif path.startswith("docs/"):
        target = path.removeprefix("docs/")
    else:
        target = f"{path}.txt" if path.endswith(".md") and path.startswith("papers/") else path
    return posixpath.relpath(target, posixpath.dirname(uri) or ".")
