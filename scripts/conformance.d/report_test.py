"""The checker cannot pass what it should not. Run: python3 -B -m unittest discover -s scripts/conformance.d -p '*_test.py'"""

import json
import pathlib
import tempfile
import unittest

import cases
import expected
import report

CATALOG = [f"{section}.{index}" for section, count in cases.COUNT_BY_SECTION.items() for index in range(1, count + 1)]


class Choosing(unittest.TestCase):
    def test_all_cases_of_our_sections_are_chosen(self):
        chosen = cases.choose(CATALOG + ["12.1.1", "13.1.1"], None, False)
        self.assertEqual(chosen, CATALOG)
        self.assertEqual(len(chosen), 301)

    def test_pattern_of_one_section_does_not_match_another(self):
        self.assertEqual(len(cases.choose(CATALOG, "1.*", False)), 16)

    def test_short_leaves_out_only_heavy_cases_of_section_9(self):
        names = committed()
        dropped = set(names) - set(cases.choose(names, None, True))
        self.assertEqual({cases.section(case) for case in dropped}, {9})
        kept = [case for case in names if cases.section(case) == 9 and case not in dropped]
        self.assertEqual({case.rsplit(".", 1)[0] for case in kept}, {"9.1", "9.2", "9.4", "9.6", "9.7", "9.8"})

    def test_pattern_without_a_case_is_refused(self):
        for pattern in ["8.*", "12.*", "1.1,99.1", "", "1.*,"]:
            with self.assertRaises(cases.Unknown, msg=pattern):
                cases.choose(CATALOG, pattern, False)

    def test_suite_that_lacks_a_case_is_refused(self):
        with self.assertRaises(cases.Unknown):
            cases.choose(CATALOG[1:], None, False)

    def test_suite_with_an_unknown_section_is_refused(self):
        with self.assertRaises(cases.Unknown):
            cases.choose(CATALOG + ["11.1"], None, False)


def committed():
    """The cases of the committed results, whose numbers are those of the suite."""
    return list(expected.load(pathlib.Path(__file__).parent / "expected.txt"))


class Judging(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, results, agent="epoll"):
        """Writes a report as the suite does: behavior and behaviorClose by case."""
        index = {}
        for case, (behavior, close) in results.items():
            name = f"case_{case}.json"
            index[case] = {"behavior": behavior, "behaviorClose": close, "reportfile": name}
            told = {"result": "as told.", "resultClose": "closed", "expected": {"OK": []}, "received": ["x" * 1000]}
            (self.folder / name).write_text(json.dumps(told))
        (self.folder / "index.json").write_text(json.dumps({agent: index}))

    def judge(self, results, chosen=None):
        self.write(results)
        return report.read(self.folder, "epoll", chosen or list(results))

    def test_ok_passes(self):
        self.assertTrue(self.judge({"1.1.1": ("OK", "OK")}).passed())

    def test_anything_else_fails_in_either_place(self):
        for word in ["FAILED", "NON-STRICT", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "UNIMPLEMENTED", "INFORMATIONAL", ""]:
            for pair in [(word, "OK"), ("OK", word)]:
                verdict = self.judge({"1.1.1": ("OK", "OK"), "1.1.2": pair})
                self.assertEqual(verdict.failures(), ["1.1.2"], pair)
                self.assertFalse(verdict.passed(), pair)

    def test_informational_passes_only_where_the_suite_defines_it(self):
        for case in ["7.1.6", "7.13.1", "7.13.2"]:
            self.assertTrue(self.judge({case: ("INFORMATIONAL", "INFORMATIONAL")}).passed())
            self.assertFalse(self.judge({case: ("INFORMATIONAL", "FAILED")}).passed())
        self.assertFalse(self.judge({"7.1.5": ("INFORMATIONAL", "INFORMATIONAL")}).passed())

    def test_missing_case_is_no_verdict(self):
        with self.assertRaises(report.Broken):
            self.judge({"1.1.1": ("OK", "OK")}, chosen=["1.1.1", "1.1.2"])

    def test_extra_case_is_no_verdict(self):
        with self.assertRaises(report.Broken):
            self.judge({"1.1.1": ("OK", "OK"), "1.1.2": ("OK", "OK")}, chosen=["1.1.1"])

    def test_report_of_another_server_is_no_verdict(self):
        self.write({"1.1.1": ("OK", "OK")}, agent="uring")
        with self.assertRaises(report.Broken):
            report.read(self.folder, "epoll", ["1.1.1"])

    def test_missing_or_torn_report_is_no_verdict(self):
        with self.assertRaises(report.Broken):
            report.read(self.folder, "epoll", ["1.1.1"])
        (self.folder / "index.json").write_text('{"epoll": {')
        with self.assertRaises(report.Broken):
            report.read(self.folder, "epoll", ["1.1.1"])

    def test_lines_count_each_section_and_name_each_failure(self):
        verdict = self.judge({"1.1.1": ("OK", "OK"), "1.1.2": ("FAILED", "OK"), "7.1.6": ("INFORMATIONAL", "INFORMATIONAL")})
        lines = verdict.lines("epoll", 1.0)
        self.assertEqual(len(lines), 4)
        self.assertIn("2 cases: 1 OK, 0 INFORMATIONAL, 1 failed", lines[0])
        self.assertIn("1.1.2: FAILED", lines[1])
        self.assertIn("1 cases: 0 OK, 1 INFORMATIONAL, 0 failed", lines[2])
        self.assertIn("FAILED: 3 cases: 1 OK, 1 INFORMATIONAL, 1 failed", lines[3])


class Expecting(unittest.TestCase):
    OK = {"behavior": "OK", "behaviorClose": "OK"}
    BAD = {"behavior": "NON-STRICT", "behaviorClose": "OK"}

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "expected.txt"

    def difference(self, results, chosen=None, known=("1.1", "1.2", "1.10")):
        self.file.write_text("1.1 OK OK\n1.2 OK OK\n1.10 OK OK\n")
        return expected.difference(expected.load(self.file), results, chosen or list(results), known, "epoll")

    def test_results_as_committed_differ_in_nothing(self):
        self.assertEqual(self.difference({case: self.OK for case in ["1.1", "1.2", "1.10"]}), [])
        self.assertEqual(self.difference({"1.2": self.OK}), [])

    def test_another_behaviour_is_shown_as_a_diff(self):
        shown = self.difference({"1.1": self.OK, "1.2": self.BAD})
        self.assertEqual(shown[:2], ["--- expected", "+++ epoll"])
        self.assertEqual(shown[3:], ["-1.2 OK OK", "+1.2 NON-STRICT OK"])

    def test_better_than_committed_is_a_difference_too(self):
        self.file.write_text("7.1.6 INFORMATIONAL INFORMATIONAL\n")
        shown = expected.difference(expected.load(self.file), {"7.1.6": self.OK}, ["7.1.6"], ["7.1.6"], "epoll")
        self.assertIn("+7.1.6 OK OK", shown)

    def test_missing_and_new_cases_are_differences(self):
        self.assertIn("-1.2 OK OK", self.difference({"1.1": self.OK}, chosen=["1.1", "1.2"]))
        self.assertIn("+1.3 OK OK", self.difference({"1.1": self.OK, "1.3": self.OK}))

    def test_case_that_the_suite_no_longer_has_is_a_difference_in_every_run(self):
        self.assertIn("-1.10 OK OK", self.difference({"1.1": self.OK}, known=("1.1", "1.2")))

    def test_committed_results_have_one_form(self):
        for text in ["1.1 OK\n", "1.1 OK OK\n1.1 OK OK\n", "1.10 OK OK\n1.2 OK OK\n", "1.1 OK OK\n\n"]:
            self.file.write_text(text)
            with self.assertRaises(expected.Unreadable, msg=text):
                expected.load(self.file)
        with self.assertRaises(expected.Unreadable):
            expected.load(self.file.parent / "nowhere.txt")

    def test_committed_results_are_all_good_and_are_all_cases(self):
        path = pathlib.Path(__file__).parent / "expected.txt"
        lines = [line.split() for line in expected.load(path).values()]
        for case, behavior, close in lines:
            self.assertTrue(report.good(case, {"behavior": behavior, "behaviorClose": close}), case)
        self.assertEqual(len(cases.known([case for case, _, _ in lines])), 301)

    def test_update_writes_what_load_reads(self):
        expected.write(self.file, {"uring": {"1.10": self.OK, "1.2": self.OK}, "epoll": {"1.2": self.OK, "1.10": self.OK}})
        self.assertEqual(self.file.read_text(), "1.2 OK OK\n1.10 OK OK\n")
        self.assertEqual(list(expected.load(self.file)), ["1.2", "1.10"])

    def test_update_refuses_what_could_not_pass_and_drivers_that_disagree(self):
        for found in [{"uring": {"1.1": self.BAD}, "epoll": {"1.1": self.BAD}}, {"uring": {"1.1": self.OK}, "epoll": {}}]:
            with self.assertRaises(expected.Refused):
                expected.write(self.file, found)
            self.assertFalse(self.file.exists())


if __name__ == "__main__":
    unittest.main()
