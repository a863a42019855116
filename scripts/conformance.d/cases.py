"""Which cases run, and how many there must be.

In      the catalog of the installed suite, the patterns asked for
Out     case numbers in the suite's order; never none
Bounds  sections 1 to 7, 9 and 10
"""

import collections
import fnmatch


def choose(catalog, patterns, short):
    """The cases of the catalog that match the patterns (all, if patterns is None)."""
    ours = known(catalog)
    if patterns is not None:
        ours = matching(ours, [pattern.strip() for pattern in patterns.split(",")])
    if short:
        ours = [case for case in ours if not any(fnmatch.fnmatchcase(case, heavy) for heavy in HEAVY)]
    if not ours:
        raise Unknown("no case is left to run")
    return ours


def known(catalog):
    """All cases of our sections."""
    assert_complete(catalog)
    return [case for case in catalog if section(case) in COUNT_BY_SECTION]


def matching(ours, patterns):
    for pattern in patterns:
        # Each pattern has to name something: a slip of the pen would otherwise leave cases out unseen.
        if not fnmatch.filter(ours, pattern):
            raise Unknown(f"{pattern!r} names no case of sections {', '.join(map(str, COUNT_BY_SECTION))}")
    return [case for case in ours if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)]


def assert_complete(catalog):
    """Refuses a suite that has not exactly the cases that we count on."""
    counts = collections.Counter(map(section, catalog))
    for number, count in COUNT_BY_SECTION.items():
        if counts[number] != count:
            raise Unknown(f"the suite has {counts[number]} cases in section {number}, {count} are expected")
    strange = sorted(set(counts) - set(COUNT_BY_SECTION) - set(LEFT_OUT))
    if strange:
        raise Unknown(f"the suite has sections that are neither run nor left out: {strange}")


def left_out(short):
    """One line for the log: nothing is excluded silently."""
    parts = [f"{number}.* ({reason})" for number, reason in LEFT_OUT.items()]
    if short:
        parts.append(f"{', '.join(HEAVY)} (--short)")
    return "left out: " + "; ".join(parts)


def section(case):
    return int(case.split(".")[0])


def order(case):
    """Sorts cases as the suite does: by number."""
    return [int(part) for part in case.split(".")]


class Unknown(Exception):
    """The cases asked for are not the cases that the suite has."""


COUNT_BY_SECTION = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1}
# They test an extension that the engine does not offer; `server.Server.assert_no_compression` tells when it does.
LEFT_OUT = {12: "permessage-deflate, which is not there yet", 13: "permessage-deflate parameters, likewise"}
# Megabytes, of which the suite itself costs most of the time. What is left of section 9 has each kind of case: 64 KiB to 1 MiB
# and 16 MiB, 65,536 fragments of 64 bytes, every chop size, and echoes one by one.
HEAVY = ["9.1.[456]", "9.2.[45]", "9.3.*", "9.4.[2-9]", "9.5.*", "9.7.6"]
