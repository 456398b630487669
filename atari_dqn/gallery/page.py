"""Writes the files of the page: HTML, scripts, styles, and a script with the data."""

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.reading import read_bytes
from atari_dqn.gallery.collect import OWN_FOLDER
from atari_dqn.gallery.records import GalleryData

STYLES = ("gallery.css",)
SCRIPTS = (
    "dom.js",
    "model.js",
    "commands.js",
    "media.js",
    "clock.js",
    "player.js",
    "chart.js",
    "games.js",
    "leaderboard.js",
    "released.js",
    "results.js",
    "settings.js",
    "app.js",
)
# Sets the light or dark theme before anything is drawn.
FIRST_SCRIPT = "theme.js"
CHARTS = "plotly.min.js"
DATA = "data.js"

KEYS = (
    ("Space", "play or pause"),
    ("← →", "two seconds back or forward"),
    (", .", "one agent step back or forward"),
    ("p n", "previous or next recording of the run"),
    ("0", "restart"),
    ("1 2 3 4", "half, normal, double or quadruple speed"),
    ("c", "compare two recordings side by side, or show one"),
    ("s", "select the left or the right side"),
    ("f", "enter or leave full screen"),
    ("/", "go to the filters"),
    ("d", "settings of a run, or differences between two"),
    ("t", "light or dark theme"),
    ("?", "this list"),
    ("Escape", "close the player or a dialog"),
)


def write_page(videos: Path, data: GalleryData, live: bool = False) -> Path:
    """Writes ``index.html`` and the folder ``gallery`` beside it.

    The page also works from a copy of these files and the recordings in another place.

    Args:
        videos: Directory of the recordings, which is created if it is missing.
        data: The data of the page, from ``collect``.
        live: Whether the page asks for newer data while it is open.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: ``index.html`` is another page, or a file cannot be written.
    """
    page = videos / "index.html"
    own = videos / OWN_FOLDER
    environment = Environment(
        loader=PackageLoader("atari_dqn.gallery"), autoescape=select_autoescape(default=True)
    )
    environment.undefined = StrictUndefined
    trained = [run for run in data["runs"] if run["kind"] == "run"]
    counts = {
        "games": len({run["game"] for run in data["runs"] if run["kind"] != "released"}),
        "runs": len(trained),
        "recordings": len(data["recordings"]),
    }
    html = environment.get_template("index.html").render(
        counts=counts,
        keys=KEYS,
        live=live,
        first_script=FIRST_SCRIPT,
        scripts=(DATA, *SCRIPTS),
        styles=STYLES,
        own=OWN_FOLDER,
    )
    if page.exists() and b'name="generator" content="atari-dqn"' not in read_bytes(page):
        raise UserError(f"'{page}' is another page and is left as it is; move it away")
    try:
        own.mkdir(parents=True, exist_ok=True)
        static = files("atari_dqn.gallery") / "static"
        for name in (FIRST_SCRIPT, *SCRIPTS, *STYLES):
            _replace(own / name, (static / name).read_bytes())
        _copy_charts(own / CHARTS)
        write_data(videos, data, live)
        _replace(page, html.encode())
    except OSError as error:
        raise UserError(f"'{own}' could not be written: {error.strerror}") from error
    return page


def write_data(videos: Path, data: GalleryData, live: bool) -> None:
    """Writes the data of the page, which an open live page then reads again."""
    _replace(videos / OWN_FOLDER / DATA, as_script({**data, "live": live}).encode("ascii"))


def as_script(data: Mapping[str, object]) -> str:
    r"""Returns a script that passes data to the page.

    The script is pure ASCII. Nothing in the data can end the script or start a tag.

    >>> as_script({"name": "</script>"})
    'window.galleryData = {"name":"\\u003c/script\\u003e"};\nwindow.receiveGallery?.();\n'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"window.galleryData = {text};\nwindow.receiveGallery?.();\n"


def _copy_charts(path: Path) -> None:
    """Copies the bundle of the chart library from its package, without importing it."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "package_data" / CHARTS
    if not path.exists() or path.stat().st_size != source.stat().st_size:
        write_whole(path, source.read_bytes())


def _replace(path: Path, content: bytes) -> None:
    """Writes a file atomically, because a page may read it, unless its content is the same."""
    if path.is_file() and path.read_bytes() == content:
        return
    write_whole(path, content)
