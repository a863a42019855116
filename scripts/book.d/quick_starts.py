"""Does what the quick starts say, as a new user would: from an empty folder, with ~/fanwire a clone of what is committed.

In      docs/start/*.md: blocks of `sh` in their order, and files that the text asks for; CHROMIUM for the page
Out     what each block printed; exit status 1 if one fails or does not print what the page promises
Bounds  QUICK_START_SECONDS_MAX for each page (default 300: they say five minutes), and as long again for each of its
        builds; what it starts is ended by its process id
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
SECONDS_MAX = int(os.environ.get("QUICK_START_SECONDS_MAX", "300"))

# What the pages promise of what can be seen.
PROMISES = {
    "library": ['{"topic":"room","data":{"text":"hello"}}', "401 Unauthorized", "say who you are"],
    "server": [
        "the settings are in order", '"forbidden"', '{"topic":"subscribed","data":{"topic":"news.today"}}',
        '{"topic":"news.today","data":"hello"}', '{"topic":"subscribed","data":{"topic":"user:eve"}}',
    ],
    "browser": ["from here", "connection: open", "tea 2, coffee 1"],
}

BUILDS = re.compile(r"cargo (install|build|run)")

# An optional marker, then a block; or a file that the text asks for.
BLOCK = re.compile(
    r"(?:<!-- run in the background until: (?P<until>.+?) -->\n)?```sh\n(?P<sh>.*?)```"
    r"|Put this into `(?P<path>[^`]+)`:\n\n```rust[^\n]*\n(?P<text>.*?)```",
    re.DOTALL,
)


class Run:
    """One page in its own folder."""

    def __init__(self, name, home):
        self.name, self.home = name, home
        self.folder = os.path.join(home, name)
        os.mkdir(self.folder)
        self.ends_at, self.built_s = time.monotonic() + SECONDS_MAX, 0.0
        self.printed, self.started = "", []
        # The user's own tools stay where they are.
        own = os.path.expanduser("~")
        self.environment = {
            "CARGO_HOME": os.path.join(own, ".cargo"),
            "RUSTUP_HOME": os.path.join(own, ".rustup"),
            **{key: value for key, value in os.environ.items() if not key.startswith("FANWIRE_")},
            "HOME": home,
        }

    def left(self):
        return max(1.0, self.ends_at - time.monotonic())

    @contextlib.contextmanager
    def builds(self, script):
        """What cargo takes the first time is this machine's, not the page's."""
        if not BUILDS.search(script):
            yield
            return
        started, before = time.monotonic(), self.left()
        self.ends_at = started + SECONDS_MAX
        yield
        self.built_s += time.monotonic() - started
        self.ends_at = time.monotonic() + before

    def shell(self, script):
        result = subprocess.run(
            ["bash", "-euc", script], cwd=self.folder, env=self.environment, timeout=self.left(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        print(result.stdout, end="")
        self.printed += result.stdout
        if result.returncode != 0:
            raise SystemExit(f"{self.name}: exit status {result.returncode} of:\n{script}")

    def background(self, script, until):
        log = os.path.join(self.home, f"{self.name}-{len(self.started)}.log")
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen(
                ["bash", "-euc", script], cwd=self.folder, env=self.environment, start_new_session=True,
                stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )
        self.started.append(process)
        while True:
            with open(log, encoding="utf-8") as file:
                text = file.read()
            if until in text:
                return
            if process.poll() is not None or self.left() <= 1:
                raise SystemExit(f"{self.name}: never said {until!r}:\n{text}")
            time.sleep(0.1)

    def windows(self):
        """What a browser makes of the page."""
        self.shell(f"node {ROOT}/scripts/book.d/two_windows.js http://127.0.0.1:8000/ ~/fanwire/clients/js")

    def end(self):
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def run(name, home):
    with open(os.path.join(home, "fanwire", "docs", "start", f"{name}.md"), encoding="utf-8") as file:
        page = file.read()
    one = Run(name, home)
    started = time.monotonic()
    try:
        for block in BLOCK.finditer(page):
            if block["path"]:
                with open(os.path.join(one.folder, block["path"]), "w", encoding="utf-8") as file:
                    file.write(block["text"])
            elif block["until"]:
                print(f"--- {name}, beside the others\n{block['sh']}", end="", flush=True)
                with one.builds(block["sh"]):
                    one.background(block["sh"], block["until"])
            else:
                print(f"--- {name}\n{block['sh']}", end="", flush=True)
                with one.builds(block["sh"]):
                    one.shell(block["sh"])
        if name == "browser":
            one.windows()
    finally:
        one.end()
    for promise in PROMISES[name]:
        if promise not in one.printed:
            raise SystemExit(f"{name}: the page promises {promise!r}, which was not seen")
    seconds = time.monotonic() - started - one.built_s
    print(f"=== {name}: as the page says, in {seconds:.0f} s and {one.built_s:.0f} s of building")


def main(names):
    home = tempfile.mkdtemp(prefix="quick-start-")
    try:
        subprocess.run(["git", "clone", "--quiet", ROOT, os.path.join(home, "fanwire")], check=True, timeout=SECONDS_MAX)
        for name in names or PROMISES:
            run(name, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
