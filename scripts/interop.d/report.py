"""The result: a table for each setting, what differed, what could not be done and why.

In      verdicts
Out     text, an exit status
"""

import threading


class Report:
    """Filled by several threads."""

    def __init__(self, behaviours):
        self.names = [one.name for one in behaviours]
        self.verdicts, self.versions, self.absent, self.complaints = {}, {}, {}, []
        self.lock = threading.Lock()

    def add(self, setting, peer, behaviour, verdict):
        with self.lock:
            self.verdicts[setting, peer, behaviour] = verdict

    def version(self, peer, version):
        with self.lock:
            self.versions[peer] = version

    def missing(self, what, why):
        with self.lock:
            self.absent[what] = why

    def control(self, setting, complaint):
        if complaint:
            self.complaints.append(f"{setting}: {complaint}")

    def text(self):
        parts = [self.table(setting) for setting in unique(key[0] for key in self.verdicts)]
        parts.append(lines("peers:", [f"{peer}: {version}" for peer, version in self.versions.items()]))
        parts.append(lines("what a peer's API cannot do (-):", self.reasons("-")))
        parts.append(lines("what the proxy cut, as it may (cut):", self.reasons("cut")))
        parts.append(
            lines("MISSING on this machine:", [f"{what}: {why}" for what, why in self.absent.items()])
        )
        parts.append(lines("FAILED:", self.failures()))
        return "\n".join(part for part in parts if part)

    def table(self, setting):
        peers = unique(key[1] for key in self.verdicts if key[0] == setting)
        rows = [[f"[{setting}]", *peers]]
        for name in self.names:
            cells = [self.verdicts.get((setting, peer, name)) for peer in peers]
            if any(cells):
                rows.append([name, *(cell.word if cell else "" for cell in cells)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n" for row in rows
        )

    def reasons(self, word):
        found = {}
        for (_, peer, behaviour), verdict in self.verdicts.items():
            if verdict.word == word:
                found.setdefault((peer, verdict.why), []).append(behaviour)
        return [f"{peer}, {', '.join(unique(which))}: {why}" for (peer, why), which in found.items()]

    def failures(self):
        failed = [
            f"{setting}, {peer}, {behaviour}: {verdict.why}"
            for (setting, peer, behaviour), verdict in self.verdicts.items()
            if verdict.word == "FAILED"
        ]
        return [*self.complaints, *failed]

    def summary(self):
        words = [verdict.word for verdict in self.verdicts.values()]
        said = f"{words.count('ok') + words.count('cut')} passed, {len(self.failures())} failed, {words.count('-')} not possible"
        return f"{said}, {len(self.absent)} missing" if self.absent else said

    def status(self):
        if self.failures():
            return 1
        return 2 if self.absent or not self.verdicts else 0


def lines(title, found):
    return "\n".join([title, *(f"    {one}" for one in found)]) + "\n" if found else ""


def unique(found):
    return list(dict.fromkeys(found))
