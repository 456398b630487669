"""The site that ``make docs`` builds: it has every page and module, and needs no network."""

import ast
import fcntl
import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "checkpoints" / "released").glob("*/README.md")),
]
MODULES = [
    path
    for path in sorted((ROOT / "atari_dqn").rglob("*.py"))
    if not path.name.startswith("_") and not path.parent.name.startswith("_")
]
# What a browser loads by itself, with the attribute that names it.
LOADS = {"script": "src", "img": "src", "source": "src", "video": "src", "iframe": "src"}

# On a busy machine the build takes minutes.
pytestmark = pytest.mark.timeout(1800)


class Page(HTMLParser):
    """What a page of the site links to, loads, and can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids = {""}
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.sidebar: set[str] = set()
        self.in_sidebar = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.add(values["id"])
        classes = values.get("class", "").split()
        if "sidebar-tree" in classes:
            self.in_sidebar = True
        elif tag == "main" or "main" in classes:
            self.in_sidebar = False
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
            if self.in_sidebar:
                self.sidebar.add(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.add(values["href"])
        elif LOADS.get(tag) in values:
            self.loads.add(values[LOADS[tag]])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built once for all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    built = folder / "site"
    log = folder / "site.log"
    with (folder / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going"]
            folders = ["-c", "docs", "-d", str(folder / "doctrees"), ".", str(built)]
            answer = subprocess.run(
                [*sphinx, "--quiet", *folders],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            log.write_text(f"{answer.returncode}\n{answer.stdout}", encoding="utf-8")
    assert log.read_text(encoding="utf-8").startswith("0\n"), log.read_text(encoding="utf-8")
    return built


@cache
def page(path: Path) -> Page:
    return Page(path)


def pages(site: Path) -> list[Page]:
    return [page(path) for path in sorted(site.rglob("*.html"))]


def target(source: Page, link: str) -> tuple[Path, str]:
    """The file and the id that an internal link leads to."""
    parts = urlsplit(link)
    if not parts.path:
        return source.path, unquote(parts.fragment)
    return Path(os.path.normpath(source.path.parent / unquote(parts.path))), unquote(parts.fragment)


def test_every_link_leads_to_a_file_and_a_place_in_it(site: Path) -> None:
    broken = []
    for source in pages(site):
        for link in source.links:
            if urlsplit(link).scheme:
                continue
            path, place = target(source, link)
            if not path.is_file() or (path.suffix == ".html" and place not in page(path).ids):
                broken.append(f"{source.path.relative_to(site)}: {link}")
    assert broken == []


def test_links_that_leave_the_site_are_https(site: Path) -> None:
    schemes = {urlsplit(link).scheme for source in pages(site) for link in source.links}
    assert schemes <= {"", "https"}


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    for source in pages(site):
        for load in source.loads:
            if load.startswith("data:image/"):  # a picture in the page itself
                continue
            assert not urlsplit(load).scheme, (source.path, load)
            assert not urlsplit(load).netloc, (source.path, load)
            assert target(source, load)[0].is_file(), (source.path, load)
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", text), path


def test_every_page_is_in_the_sidebar(site: Path) -> None:
    listed = {
        target(page(site / "README.html"), link)[0] for link in page(site / "README.html").sidebar
    }
    texts = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    wanted = {site / text.relative_to(ROOT).with_suffix(".html") for text in texts}
    assert wanted - listed == set()


def public_names(path: Path) -> set[str]:
    """The functions and classes of a module, or those of them that it lists in ``__all__``."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    listed = [
        ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = {name for name in defined if not name.startswith("_")}
    return names & set(listed[0]) if listed else names


def test_every_public_module_function_and_class_is_in_the_api_reference(site: Path) -> None:
    ids = {place for source in pages(site) for place in source.ids}
    wanted = set()
    for path in MODULES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        wanted |= {f"module-{module}", *(f"{module}.{name}" for name in public_names(path))}
    assert wanted - ids == set()


def test_the_pages_show_pictures_formulas_and_the_notebook(site: Path) -> None:
    assert any(load.endswith(".gif") for load in page(site / "README.html").loads)
    algorithm = (site / "docs" / "design" / "algorithm.html").read_text(encoding="utf-8")
    assert algorithm.count("<math ") > 10
    assert "$" not in re.sub(r"<script.*?</script>|<code.*?</code>", "", algorithm, flags=re.DOTALL)
    notebook = page(site / "docs" / "guide" / "first_agent.html")
    assert sum(load.startswith("data:image/png") for load in notebook.loads) == 2
    assert sum(load.startswith("data:image/gif") for load in notebook.loads) == 1
    text = notebook.path.read_text(encoding="utf-8")
    assert text.count("human-normalized") == 2
    assert "\x1b" not in text
    assert (site / "searchindex.js").is_file()


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def slugs(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", without_code(text), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = 0
        while (numbered := f"{slug}-{count}" if count else slug) in found:
            count += 1
        found.add(numbered)
    return found


def test_headings_have_the_anchors_that_github_makes() -> None:
    text = "# A `frame`'s way, in C++\n## Pong (v4)\n```\n# no heading\n```\n## Pong (v4)\n"
    assert slugs(text) == {"a-frames-way-in-c", "pong-v4", "pong-v4-1"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_anchors_in_markdown_lead_to_headings(path: Path) -> None:
    text = without_code(path.read_text(encoding="utf-8"))
    for name, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", text):
        linked = path.parent / name if name else path
        if linked.suffix == ".md":
            assert anchor in slugs(linked.read_text(encoding="utf-8")), f"{name}#{anchor}"
