"""Sphinx's configuration of the site; `build_site.py` lays its sources out."""

project = "DCR"
root_doc = "README"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["conf/*", "notebooks/*", "src/*"]  # what pages link to, no pages themselves

smartquotes = False  # of two hyphens, as of an option, it would make a dash

# Headings are reached by the names that GitHub gives them.
myst_heading_anchors = 4

html_theme = "furo"
html_title = "DCR"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
