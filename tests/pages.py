"""What tests of HTML pages look at."""

from html.parser import HTMLParser


class Balance(HTMLParser):
    """Notes tags that are opened and not closed, and what is loaded from elsewhere."""

    def __init__(self, *void):
        """Take the tags that have no end, beside `meta`."""
        super().__init__()
        self._void = ("meta", *void)
        self.open, self.names, self.addresses = [], set(), []

    def handle_starttag(self, tag, attrs):
        """Note the tag as open, and where it points."""
        self.names.add(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        if tag not in self._void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Note the tag, and where it points."""
        self.handle_starttag(tag, attrs)
        if tag not in self._void:
            self.open.pop()

    def handle_endtag(self, tag):
        """Close the innermost one."""
        assert self.open.pop() == tag
