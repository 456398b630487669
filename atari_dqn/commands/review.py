"""The commands that review runs: learning curves, the gallery, and reports."""

import argparse
import json
import sys
from pathlib import Path

from atari_dqn.commands.arguments import Command, add_root, add_videos, paths_of, whole_number
from atari_dqn.console import print_result, say_notes, terminal_width, waiting
from atari_dqn.errors import UserError, check_installed
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.runs.directory import check_writable
from atari_dqn.typed_commands import argument, command, option
from atari_dqn.workflows.named import named_runs

DEFAULT_PORT = 8000


def add_plot_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``plot``."""
    add_root(parser)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run directories, 'last' for the newest run, or games for all of their runs; runs of "
        "the same game and recipe become one curve",
    )
    parser.add_argument(
        "--out",
        default="curves",
        metavar="STEM",
        help="write STEM.png and STEM.svg (default: %(default)s)",
    )


def plot(options: argparse.Namespace) -> int:
    """Draws learning curves and prints the paths of the pictures."""
    from atari_dqn.report.learning_curves import plot_runs

    check_writable(Path(options.out).parent)
    runs = named_runs(paths_of(options.runs), Path(options.root))
    with waiting("drawing the learning curves"):
        drawn = list(plot_runs(runs, Path(options.out)))
    for path in drawn:
        print(path)
    return 0


def add_gallery_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``gallery``."""
    add_videos(parser)
    add_root(parser)
    parser.add_argument(
        "--live",
        action="store_true",
        help="serve the page on this machine and update it while runs go on",
    )
    parser.add_argument(
        "--port",
        type=whole_number(0),
        metavar="N",
        help=f"port of --live (default: {DEFAULT_PORT})",
    )


def gallery(options: argparse.Namespace) -> int:
    """Writes the page for reviewing runs, or serves it."""
    check_installed("the page", ("jinja2", "plotly", "tornado"), "gallery", "gallery")
    from atari_dqn.gallery.collect import collect
    from atari_dqn.gallery.page import write_page
    from atari_dqn.gallery.serve import live_page

    root = Path(options.root)
    videos = Path(options.videos)
    if options.port is not None and not options.live:
        raise UserError(f"{option('port')} needs {argument('live', True)}, which serves the page")
    check_writable(videos)
    if options.live:
        port = DEFAULT_PORT if options.port is None else options.port
        with live_page(root, videos, port) as live:
            followed = f"the runs in '{root}' and the recordings in '{videos}'"
            print(f"{live.address} follows {followed}; Ctrl-C stops it", flush=True)
            live.follow()
        return 0
    data, notes = collect(root, videos)
    say_notes(notes)
    if not data["runs"]:
        missing = f"no runs in '{root}' and no recordings in '{videos}'"
        raise UserError(f"{missing}: '{command('train', game='breakout')}' creates both")
    page = write_page(videos, data)
    released = sum(run["kind"] == "released" for run in data["runs"])
    counts = {
        "runs": len(data["runs"]) - released,
        "released agents": released,
        "recordings": len(data["recordings"]),
        "evaluations": len(data["evaluations"]),
    }
    print(f"{page}: {', '.join(f'{count} {name}' for name, count in counts.items())}")
    return 0


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``report``."""
    add_videos(parser)
    add_root(parser)
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="run directories, 'last' for the newest run, games for all of their runs, JSON files "
        "of evaluations, or directories that contain them",
    )
    parser.add_argument("--out", metavar="STEM", help="also write STEM.html and STEM.json")


def report(options: argparse.Namespace) -> int:
    """Prints a comparison of runs, and writes it if ``--out`` is given."""
    from atari_dqn.report.results import read_results
    from atari_dqn.report.tables import make_tables
    from atari_dqn.report.text import as_text

    if options.out:
        check_installed("the page", ("jinja2", "matplotlib"), "report", "gallery,plot")
        check_writable(Path(options.out).parent)
    paths = named_runs(paths_of(options.paths), Path(options.root))
    with waiting("reading the runs and computing the report"):
        results, notes = read_results(paths, Path(options.videos))
        say_notes(notes)
        tables = make_tables(results)
    print_result(as_text(tables, terminal_width(sys.stdout)))
    if options.out:
        from atari_dqn.report.html import as_page

        with waiting("writing the page"):
            page = as_page(tables)
        document = json.dumps([table.to_json() for table in tables], indent=1)
        _write(Path(f"{options.out}.json"), f"{document}\n")
        _write(Path(f"{options.out}.html"), page)
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    print(f"written {path}")


COMMANDS = {
    "plot": Command(add_plot_arguments, plot),
    "gallery": Command(add_gallery_arguments, gallery),
    "report": Command(add_report_arguments, report),
}
