"""The page as files: a template, scripts and styles, and what they show as data in a script."""

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.reading import read_bytes
from atari_dqn.gallery.collect import OWN_FOLDER, GalleryData

STYLES = ("gallery.css",)
SCRIPTS = (
    "dom.js",
    "model.js",
    "media.js",
    "clock.js",
    "player.js",
    "chart.js",
    "games.js",
    "results.js",
    "settings.js",
    "app.js",
)
# Sets light or dark before anything is drawn.
FIRST_SCRIPT = "theme.js"
CHARTS = "plotly.min.js"
DATA = "data.js"

KEYS = (
    ("Space", "play or pause"),
    ("← →", "two seconds back or on"),
    (", .", "one step of the game back or on"),
    ("p n", "the recording before or after it in training"),
    ("0", "from the beginning"),
    ("1 2 3 4", "speed: half, normal, double, four times"),
    ("c", "two recordings side by side, and back to one"),
    ("s", "choose for the left or for the right side"),
    ("f", "fill the screen, and back"),
    ("/", "go to the filters"),
    ("d", "what a run's settings are, and what differs between two"),
    ("t", "light or dark"),
    ("?", "this list"),
    ("Escape", "close what is open"),
)


def write_page(videos: Path, data: GalleryData, live: bool = False) -> Path:
    """Writes ``index.html`` and the folder ``gallery`` beside it.

    Together with the recordings they can be sent to anybody.

    Args:
        videos: folder of the recordings; it is made.
        data: what ``collect`` returned.
        live: whether the page asks for newer data while it is open.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: ``index.html`` is not this page, or a file cannot be written.
    """
    page = videos / "index.html"
    own = videos / OWN_FOLDER
    environment = Environment(
        loader=PackageLoader("atari_dqn.gallery"), autoescape=select_autoescape(default=True)
    )
    environment.undefined = StrictUndefined
    counts = {
        "games": len(data["games"]),
        "runs": len(data["runs"]),
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
        raise UserError(f"'{page}' is no page of ours and is left as it is; move it away")
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
    """Writes what the page shows; a page that is open reads it again."""
    _replace(videos / OWN_FOLDER / DATA, as_script({**data, "live": live}).encode("ascii"))


def as_script(data: Mapping[str, object]) -> str:
    r"""Returns a script that hands data to the page.

    It is pure ASCII, and nothing in it can end the script or begin a tag.

    >>> as_script({"name": "</script>"})
    'window.galleryData = {"name":"\\u003c/script\\u003e"};\nwindow.receiveGallery?.();\n'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"window.galleryData = {text};\nwindow.receiveGallery?.();\n"


def _copy_charts(path: Path) -> None:
    """Copies the chart library's own bundle out of its package, which is not imported."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "package_data" / CHARTS
    if not path.exists() or path.stat().st_size != source.stat().st_size:
        write_whole(path, source.read_bytes())


def _replace(path: Path, content: bytes) -> None:
    """Writes a file that a page may be reading; one that is the same stays."""
    if path.is_file() and path.read_bytes() == content:
        return
    write_whole(path, content)
