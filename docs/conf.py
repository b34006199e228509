"""How the documentation is built: ``make docs``."""
# ruff: noqa: INP001 - Sphinx reads it; it is no package

from __future__ import annotations

import builtins
import collections.abc
import contextlib
import inspect
import re
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

from sphinx.addnodes import pending_xref
from sphinx.domains.python import PyObject
from sphinx.util.nodes import make_refnode

from koodrive_async import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils.nodes import Element
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "koodrive-async"
author = "The koodrive-async developers"
project_copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nitpicky = True
nitpick_ignore = [("py:class", "FoundFile")]  # what a walk puts into an item: not for users

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "koodrive-async"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

# The prompt is not copied, nor is what a command prints.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

add_module_names = False
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
maximum_signature_line_length = 72
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"


def setup(app: Sphinx) -> None:
    """Register what follows."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # they are not variables to a reader
    app.connect("autodoc-process-signature", read_well)
    app.connect("missing-reference", find_public_name)
    app.connect("source-read", link_inside)
    app.connect("doctree-read", look_here_first)


def read_well(*event: Any) -> tuple[str | None, str | None]:
    """Write defaults in signatures as one writes them in a program."""
    *_, signature, returned = event
    if signature is not None:
        signature = signature.replace("NOTHING", "...")  # what attrs makes anew each time
        signature = re.sub(r"<(\w+\.\w+): [^>]+>", r"\1", signature)
    return signature, returned


def link_inside(_app: Sphinx, _page: str, text: list[str]) -> None:
    """Point links that are right in the repository to the same text in these pages."""
    text[0] = text[0].replace("(../benchmarks/results/README.md)", "(explanation/benchmarks.md)")


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: Element, shown: Element
) -> Element | None:
    """Point a name of ours to where it is documented, and leave names of others alone.

    Annotations name the module that a class lives in, the reference the one it is imported from.
    There is no inventory of other projects: building needs no network. A name that is neither ours
    nor known to Python is reported.
    """
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"])
    if is_of_others(target):
        return shown
    documented = env.get_domain("py").data["objects"]
    is_sync = str(node.get("py:module")).startswith(_SYNC)
    for name in names_of(target):
        found = [
            place
            for place, entry in documented.items()
            if place.endswith(f".{name}") and not entry.aliased
        ]
        if len(found) > 1:  # the synchronous classes have the names of the others
            found = [place for place in found if place.startswith(_SYNC) == is_sync]
        if len(found) == 1:
            entry = documented[found[0]]
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, shown, found[0]
            )
    return shown if is_inside(target) or is_field(node, target) else None


def look_here_first(_app: Sphinx, doctree: Element) -> None:
    """Have names looked for in their own module alone, so that :func:`find_public_name` decides."""
    for node in doctree.findall(pending_xref):
        if node.get("refdomain") == "py" and "." not in node["reftarget"]:
            node.attributes.pop("refspecific", None)


def names_of(target: str) -> Iterator[str]:
    """Return what a name may be documented as: without its modules, or as a field of its class."""
    parts = target.split(".")
    while len(parts) > 1 and parts[0].islower():
        del parts[0]
    yield ".".join(parts)
    if len(parts) > 1:
        yield parts[0]


def is_inside(target: str) -> bool:
    """Return whether a name is ours without being public: it is shown, and links nowhere."""
    module, _, name = target.rpartition(".")
    return (
        name in _INSIDE
        or _TYPE_VARIABLE.fullmatch(name) is not None
        or hasattr(sys.modules.get(module), name)
    )


def is_field(node: Element, name: str) -> bool:
    """Return whether a class names its own field, which has no place of its own to link to."""
    module = sys.modules.get(str(node.get("py:module")))
    described = getattr(module, str(node.get("py:class")), None)
    return f":ivar {name}:" in (inspect.getdoc(described) or "")


def is_of_others(target: str) -> bool:
    """Return whether a name is Python's or of a package that this one uses."""
    first, _, rest = target.partition(".")
    if not rest:
        return hasattr(builtins, first) or first in _UNQUALIFIED
    return first in sys.stdlib_module_names or first in _PACKAGES


_PACKAGES = {"_typeshed", "aiohttp", "anyio", "attr", "attrs", "logging", "matplotlib", "multidict"}
_PACKAGES |= {"opentelemetry", "pandas", "pd", "pytest", "rich", "tqdm"}
_INSIDE = {"LeftOut", "ReadsInto", "RecordCreation", "Retake", "TreeRules"}
_TYPE_VARIABLE = re.compile(r"[A-Z](_co)?")
_SYNC = "koodrive_async.sync"
_UNQUALIFIED = {
    *(name for module in (collections.abc, contextlib, types, typing) for name in module.__all__),
    *("CIMultiDictProxy", "Console", "Figure", "MeterProvider", "TracerProvider"),
    *("Buffer", "Path", "ReadableBuffer", "TextIO", "datetime"),
}
