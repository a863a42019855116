"""Starts the suite in the folder it was installed to. Runs under Python 2.

In      FOLDER, then `catalog` or the arguments of wstest
Out     the case numbers, one per line, in the suite's order; or what wstest does
Bounds  the interpreter runs with -S: no other installed package can take part
"""

import site
import sys

site.addsitedir(sys.argv.pop(1))

if sys.argv[1:] == ["catalog"]:
    from autobahntestsuite.case import Cases

    for case in Cases:
        print(".".join(case.__name__[len("Case"):].split("_")))
else:
    from autobahntestsuite import wstest

    wstest.run()
