"""What a browser would make of our HTML."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"br", "img", "hr"}


class Table(HTMLParser):
    """Rows of texts and titles; fails where tags do not match."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.titles: list[str] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        given = dict(attrs)
        assert set(given) <= {"style", "title", "scope"}
        if "title" in given:
            self.titles.append(given["title"])
        self.styles.append(given.get("style", ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += text

    @property
    def lines(self):
        """A card as a dictionary."""
        return {row[0]: row[1] for row in self.rows}
