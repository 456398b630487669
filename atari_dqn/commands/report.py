"""What many runs say together: a table for each protocol, with intervals and published scores, as
text, JSON and a page.
"""

import argparse
import json
from pathlib import Path

from atari_dqn.commands.requests import paths_of
from atari_dqn.console import say_notes
from atari_dqn.errors import check_installed
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.runs.directory import check_writable


def report(options: argparse.Namespace) -> int:
    """Compares runs with each other and with published scores."""
    from atari_dqn.report.results import read_results
    from atari_dqn.report.tables import make_tables
    from atari_dqn.report.text import as_text

    if options.out:
        check_installed("the page", ("jinja2", "matplotlib"), "report", "gallery,plot")
        check_writable(Path(options.out).parent)
    results, notes = read_results(paths_of(options.paths), Path(options.videos))
    for note in notes:
        say_notes([note])
    tables = make_tables(results)
    print(as_text(tables))
    if options.out:
        from atari_dqn.report.html import as_page

        for ending, text in (
            (".json", json.dumps([table.to_json() for table in tables], indent=1) + "\n"),
            (".html", as_page(tables)),
        ):
            path = Path(f"{options.out}{ending}")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode())
            print(f"written {path}")
    return 0
