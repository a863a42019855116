"""Checks every link of the built book.

In      the folder of pages, the folder of their sources
Out     a line for each link that leads nowhere; exit status 1 if there is one
Bounds  reads both folders; addresses of other hosts are not asked
"""

import html.parser
import os
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    """The links of a page and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.update(attributes[name] for name in ("id", "name") if attributes.get(name))
        link = attributes.get("href") if tag in ("a", "link") else attributes.get("src")
        if link:
            self.links.append(link)


def main(book, sources):
    pages = {}
    for folder, _, names in os.walk(book):
        for name in names:
            path = os.path.join(folder, name)
            # Made by the tool: the one has all pages once more, the other is for a server's own errors.
            if name.endswith(".html") and name not in ("print.html", "404.html", "toc.html"):
                with open(path, encoding="utf-8") as file:
                    pages[path] = Page(file.read())
    wrong = outside = count = 0
    for path, page in sorted(pages.items()):
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            count += 1
            name = urllib.parse.unquote(url.path)
            there = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not there.startswith(book + os.sep):
                # Into the repository, for who reads the sources.
                there = os.path.normpath(os.path.join(sources, os.path.relpath(there, book)))
                # The tool takes every document for a page.
                if there.endswith(".html") and not os.path.exists(there):
                    there = there.removesuffix(".html") + ".md"
                outside += 1
            if os.path.isdir(there):
                there = os.path.join(there, "index.html")
            known = pages.get(there)
            if not os.path.exists(there):
                problem = "there is no such page"
            elif url.fragment and known and urllib.parse.unquote(url.fragment) not in known.places:
                problem = "there is no such place in it"
            else:
                continue
            wrong += 1
            print(f"{os.path.relpath(path, book)}: {link}: {problem}")
    print(f"{len(pages)} pages, {count} links, {outside} of them into the repository, {wrong} wrong")
    return 1 if wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main(os.path.normpath(sys.argv[1]), os.path.normpath(sys.argv[2])))
