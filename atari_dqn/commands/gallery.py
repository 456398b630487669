"""The page for reviewing gameplay: learning curves, recordings by step, and results, in one folder
that opens from disk.
"""

import argparse
from pathlib import Path

from atari_dqn.console import say_notes
from atari_dqn.errors import UserError, check_installed
from atari_dqn.runs.directory import check_writable

PORT = 8000


def gallery(options: argparse.Namespace) -> int:
    """Writes the page for reviewing runs and recordings, or serves it and follows a run."""
    check_installed("the page", ("jinja2", "plotly"), "gallery", "gallery")
    from atari_dqn.gallery.collect import collect
    from atari_dqn.gallery.page import write_page
    from atari_dqn.gallery.serve import live_page

    root, videos = Path(options.root), Path(options.videos)
    if options.port is not None and not options.live:
        raise UserError("--port is for --live, which serves the page")
    check_writable(videos)
    if options.live:
        with live_page(root, videos, PORT if options.port is None else options.port) as live:
            print(
                f"{live.address} follows the runs in '{root}' and the recordings in '{videos}'; "
                "Ctrl-C ends it",
                flush=True,
            )
            live.follow()
        return 0
    data, notes = collect(root, videos)
    for note in notes:
        say_notes([note])
    if not data["runs"]:
        raise UserError(
            f"no runs in '{root}' and no recordings in '{videos}': 'make train GAME=...' makes both"
        )
    page = write_page(videos, data)
    print(
        f"{page}: {len(data['runs'])} runs, {len(data['recordings'])} recordings, {len(data['evaluations'])} evaluations"
    )
    return 0
