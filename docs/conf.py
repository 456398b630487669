"""The settings of Sphinx for the site that ``make docs`` builds.

The sources are the whole repository, so that a link between two files is the same on GitHub and in
the site. ``site_extension.py``, beside this file, adds what Sphinx and its extensions do not do.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

project = "atari_dqn"
root_doc = "README"
html_title = "atari_dqn"
html_show_copyright = False

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
    "site_extension",
]

# The pages: Markdown, notebooks, and a page for each folder of the package.
source_suffix = {".md": "markdown", ".ipynb": "notebook", ".py": "package"}
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/**.md",
    "docs/**.ipynb",
    "checkpoints/released/*/README.md",
    "atari_dqn/games/data/README.md",
    "atari_dqn/**__init__.py",
]
# Sphinx walks through every folder that is not named here, runs and environments included.
_FOLDERS = {"docs", "checkpoints", "atari_dqn"}
exclude_patterns = [
    *(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in _FOLDERS),
    *(
        f"checkpoints/{path.name}"
        for path in (ROOT / "checkpoints").iterdir()
        if path.name != "released"
    ),
    "checkpoints/released/*/step-*",
    "**/__pycache__",
    "**/.ipynb_checkpoints",
]

# The sidebar. A page that no list names makes the build fail.
toctrees = {
    "README": {
        "Guides": [
            "docs/guide/first_run",
            "docs/guide/environments_and_protocols",
            "docs/guide/recipes",
            "docs/guide/reviewing",
            "docs/guide/tutorials",
            "docs/guide/python",
            "docs/guide/first_agent",
            "docs/guide/scaling",
            "docs/guide/troubleshooting",
        ],
        "Reference": [
            "docs/reference/settings",
            "docs/reference/files",
            "docs/reference/references",
            "atari_dqn/games/data/README",
            "atari_dqn/__init__",
        ],
        "Design": [
            "docs/design/architecture",
            "docs/design/algorithm",
            "docs/design/reliability",
            "docs/design/performance",
            "docs/design/statistics",
        ],
        "Results": [
            "docs/results/results",
            "docs/results/race",
            "docs/results/ablations",
            "docs/lab/README",
        ],
        "Project": ["CONTRIBUTING", "CHANGELOG"],
    },
    "docs/results/results": {"Released agents": ["checkpoints/released/*/README"]},
    "docs/lab/README": {"Experiments": ["docs/lab/recipe_versions", "docs/lab/2*"]},
}

# Markdown as on GitHub.
myst_enable_extensions = ["dollarmath", "html_image"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 6
myst_dmath_allow_space = False
html_math_renderer = "mathml"
highlight_language = "text"

# The API reference.
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "member-order": "bysource",
    "show-inheritance": True,
    "exclude-members": "model_config",
}
autodoc_typehints = "signature"
autodoc_use_type_comments = False
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
add_module_names = False
python_display_short_literal_types = True
# Private names have no place there, and those of other packages would need the network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!atari_dqn\.).*|.*\._.*")]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_additional_pages = {"index": "index.html"}
html_copy_source = False
html_show_sourcelink = False
# A page that is opened from disk may not read other files, of which a summary would be made.
html_show_search_summary = False
