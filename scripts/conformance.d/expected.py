"""What each case must give, as it is committed.

In      expected.txt: a line `CASE BEHAVIOUR CLOSE` per case, in the suite's order
Out     how a run differs from it, as a diff; or the file, rewritten
Bounds  one line per case; the same for every driver
"""

import difflib

from cases import order
from report import good


def load(path):
    """The committed lines by case. A line of another form is a mistake, not a comment."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise Unreadable(f"no expected results: {error}") from None
    expected = {line.split()[0]: line for line in lines if len(line.split()) == 3}
    if len(expected) != len(lines) or list(expected) != sorted(expected, key=order):
        raise Unreadable(f"{path} is not one line `CASE BEHAVIOUR CLOSE` per case in the suite's order")
    return expected


def difference(expected, results, chosen, known, label):
    """A diff of the chosen cases, empty if all is as expected; what the suite does not know any more is missing in every run."""
    wanted = [line for case, line in expected.items() if case in chosen or case not in known]
    found = [told(case, results[case]) for case in sorted(results, key=order)]
    return list(difflib.unified_diff(wanted, found, "expected", label, lineterm="", n=0))


def write(path, results_by_label):
    """Rewrites the file with what was found; refuses results that could never pass, and drivers that disagree."""
    found = [[told(case, results[case]) for case in sorted(results, key=order)] for results in results_by_label.values()]
    if any(lines != found[0] for lines in found):
        raise Refused("the drivers do not agree")
    bad = [case for results in results_by_label.values() for case, result in results.items() if not good(case, result)]
    if bad:
        raise Refused(f"{', '.join(bad)}: neither OK nor INFORMATIONAL by the suite's own word")
    path.write_text("".join(line + "\n" for line in found[0]), "utf-8")


def told(case, result):
    return f"{case} {one_word(result['behavior'])} {one_word(result['behaviorClose'])}"


def one_word(behaviour):
    return behaviour.replace(" ", "-") or "NONE"


class Unreadable(Exception):
    """There is nothing to hold a run against."""


class Refused(Exception):
    """These results are not to be expected from now on."""
