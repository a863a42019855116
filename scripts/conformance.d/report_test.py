"""The checker cannot pass what it should not. Run: python3 -B -m unittest discover -s scripts/conformance.d -p '*_test.py'"""

import json
import pathlib
import tempfile
import unittest

import cases
import report

CATALOG = [f"{section}.{index}" for section, count in cases.COUNT_BY_SECTION.items() for index in range(1, count + 1)]


class Choosing(unittest.TestCase):
    def test_all_cases_of_our_sections_are_chosen(self):
        chosen = cases.choose(CATALOG + ["9.1.1", "12.1.1", "13.1.1"], None, False)
        self.assertEqual(chosen, CATALOG)
        self.assertEqual(len(chosen), 247)

    def test_pattern_of_one_section_does_not_match_another(self):
        self.assertEqual(len(cases.choose(CATALOG, "1.*", False)), 16)

    def test_short_leaves_out_only_the_slow_cases(self):
        dropped = set(CATALOG) - set(cases.choose(CATALOG, None, True))
        self.assertEqual(dropped, {"5.19", "5.20"})

    def test_pattern_without_a_case_is_refused(self):
        for pattern in ["8.*", "9.*", "1.1,99.1", "", "1.*,"]:
            with self.assertRaises(cases.Unknown, msg=pattern):
                cases.choose(CATALOG, pattern, False)

    def test_only_slow_cases_in_short_form_is_refused(self):
        with self.assertRaises(cases.Unknown):
            cases.choose(CATALOG, "5.19", True)

    def test_suite_that_lacks_a_case_is_refused(self):
        with self.assertRaises(cases.Unknown):
            cases.choose(CATALOG[1:], None, False)

    def test_suite_with_an_unknown_section_is_refused(self):
        with self.assertRaises(cases.Unknown):
            cases.choose(CATALOG + ["11.1"], None, False)


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


if __name__ == "__main__":
    unittest.main()
