"""The verdict on one run, read from the suite's JSON report.

In      index.json and one file per case, as the suite wrote them; the cases that were asked for
Out     a `Verdict`: passed, or which cases did not, with the suite's own words
Bounds  every asked case exactly once: a missing or an extra one is an error, not a pass
"""

import collections
import json

from cases import section


class Verdict:
    """What the suite found, by case."""

    def __init__(self, results):
        assert results, "an empty run is no verdict"
        self.results = results

    def passed(self):
        return not self.failures()

    def failures(self):
        return [case for case, result in self.results.items() if not good(case, result)]

    def lines(self, label, elapsed_s):
        """A line per section, one per failed case, and the sum."""
        failed = set(self.failures())
        by_section = collections.defaultdict(list)
        for case in self.results:
            by_section[section(case)].append(case)
        lines = []
        for number, members in sorted(by_section.items()):
            lines.append(f"{label:5}  section {number:2}  {len(members):3} cases: {tally(self.results, members, failed)}")
            lines += [f"{label:5}    {case}: {explain(self.results[case])}" for case in members if case in failed]
        word = "FAILED" if failed else "passed"
        lines.append(f"{label:5}  {word}: {len(self.results)} cases: {tally(self.results, self.results, failed)}, in {elapsed_s:.1f} s")
        return lines


def good(case, result):
    """True if the suite calls both the messages and the close of this case right."""
    right = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
    return result["behavior"] in right and result["behaviorClose"] in right


def tally(results, members, failed):
    informational = sum(1 for case in members if case not in failed and results[case]["behavior"] == "INFORMATIONAL")
    wrong = sum(1 for case in members if case in failed)
    return f"{len(members) - informational - wrong} OK, {informational} INFORMATIONAL, {wrong} failed"


def explain(result):
    told = f"{result['behavior']}: {result['result']} Close {result['behaviorClose']}: {result['resultClose']}."
    return f"{told} Expected {shortened(result['expected'])}, received {shortened(result['received'])} ({result['reportfile']})"


def shortened(value):
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."


def read(reports, label, chosen):
    """Reads the report of one server and holds it against what was asked for.

    Raises `Broken` if the suite did not run exactly the chosen cases.
    """
    index = load(reports / "index.json")
    if set(index) != {label}:
        raise Broken(f"{label}: no case ran, the suite did not reach the server; see {reports / 'suite.log'}")
    ran = index[label]
    missing = [case for case in chosen if case not in ran]
    extra = sorted(set(ran) - set(chosen))
    if missing or extra or len(ran) != len(chosen):
        told = f"missing {shortened(missing)}, extra {shortened(extra)}"
        raise Broken(f"{label}: {len(chosen)} cases were asked for and {len(ran)} ran; {told}")
    return Verdict({case: {**detail(reports, ran[case]), **ran[case]} for case in chosen})


def detail(reports, entry):
    case = load(reports / entry["reportfile"])
    return {key: case[key] for key in ("result", "resultClose", "expected", "received")}


def load(path):
    try:
        return json.loads(path.read_bytes().decode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        raise Broken(f"no usable report at {path}: {error}") from None


class Broken(Exception):
    """The run has no verdict: it did not end, or not with the cases asked for."""


SHOWN_CHARS_MAX = 200
# The only cases for which the suite sets INFORMATIONAL itself, in the code of the case.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
