"""`examples/train_transformer.py` without a GPU: its language, what it says of its runs, its picture."""

import importlib.util
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import xml.etree.ElementTree as xml

try:
    import torch
except ModuleNotFoundError:
    torch = None

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "examples" / "train_transformer.py"


def seed_of(two_stage, dense, steps=100):
    def run(loss, stages):
        points = [[step, step / 10, 5 - step / steps] for step in range(10, steps + 1, 10)]
        return {"stages": stages, "points": points, "held_out_loss": loss}
    return {"seed": 0, "dense": run(dense, [{"method": "dense", "steps": steps}]),
            "two_stage": run(two_stage, [{"method": "lighthouse", "steps": 60}, {"method": "dense", "steps": steps - 60}])}


@unittest.skipIf(torch is None, "PyTorch is not installed")
class TrainingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        spec = importlib.util.spec_from_file_location("train_transformer", SCRIPT)
        cls.script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cls.script)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_documents_differ_and_their_language_does_not(self):
        first, again, other = (self.script.make_documents(3, 2000, seed) for seed in (1, 1, 2))
        self.assertEqual(first.shape, (3, 2001))
        self.assertTrue(torch.equal(first, again))
        self.assertFalse(torch.equal(first, other))

        def followers(text):
            pairs = {(int(a), int(b)) for row in text for a, b in zip(row[:-1], row[1:])}
            return {pair for pair in pairs if max(pair) < self.script.WORDS}
        seen = {}
        for a, b in followers(first) & followers(other):
            seen.setdefault(a, set()).add(b)
        self.assertGreater(len(seen), 100)
        # Chance makes a few pairs of facts that both have.
        self.assertGreater(sum(len(words) <= self.script.SUCCESSORS for words in seen.values()), 0.9 * len(seen))

    def test_a_name_is_followed_by_one_word_in_a_document(self):
        words, random = self.script.WORDS, self.script.make_documents(4, 4000, 3, random_names=True).tolist()
        for row in self.script.make_documents(4, 4000, 3).tolist() + random:
            facts = {}
            for name, fact in zip(row[:-1], row[1:]):
                if name >= words:
                    facts.setdefault(name, set()).add(fact)
            self.assertLessEqual(len(facts), self.script.OWN_NAMES)
            self.assertTrue(all(len(found) == 1 for found in facts.values()))
            self.assertTrue(all(fact < words for found in facts.values() for fact in found))

    def test_names_keep_the_beat(self):
        for row in self.script.make_documents(3, 1000, 5).tolist():
            places = [at for at, word in enumerate(row) if word >= self.script.WORDS]
            self.assertLess(places[0], self.script.BEAT)
            self.assertEqual(places, list(range(places[0], 1001, self.script.BEAT)))

    def test_entropy_is_what_a_perfect_model_loses(self):
        script = self.script
        for random_names, rate in ((False, 0), (True, 1 / (script.BEAT - 1))):
            loss, count = 0.0, 0
            for row in script.make_documents(4, 50000, 4, random_names).tolist():
                for before, word in zip(row[:-1], row[1:]):
                    is_name, count = word >= script.WORDS, count + 1
                    if before < script.WORDS:
                        loss += math.log(script.OWN_NAMES if is_name else script.SUCCESSORS)
                        loss -= math.log(rate if is_name else 1 - rate) if rate else 0
            self.assertLess(abs(loss / count - script.entropy(random_names)), 0.02)

    def test_verdicts(self):
        """Noise is what another seed does to a dense run, here 0.02."""
        dense = (1.0, 1.02, 0.98)
        for difference, verdict in ((-0.03, "below"), (0.03, "above"), (0.01, "within noise"), (-0.01, "within noise")):
            found = self.script.compare([seed_of(loss + difference, loss) for loss in dense])
            self.assertEqual(found["verdict"], verdict)
            self.assertEqual(found["paired"], "below" if difference < 0 else "above")  # It is the same in every pair.
            self.assertAlmostEqual(found["noise"], 0.02)
        found = self.script.compare([seed_of(loss, 1.0) for loss in (1.0, 1.1, 1.2)])
        self.assertAlmostEqual(found["difference"], 0.1)
        self.assertAlmostEqual(found["standard_error"], 0.1 / math.sqrt(3))
        self.assertEqual((found["verdict"], found["paired"]), ("above", "within noise"))
        self.assertIn("unknown noise", self.script.compare([seed_of(1.0, 1.0)])["verdict"])

    def test_losses_at_equal_time(self):
        seed = seed_of(1.0, 1.0, steps=200)
        for name, pace in (("two_stage", 0.1), ("dense", 0.2)):
            seed[name]["points"] = [[step, step * pace, 5 - step / 200] for step in range(10, 201, 10)]
        found = self.script.at_equal_time([seed])  # The means of steps 110 to 200, and of steps 10 to 100.
        self.assertEqual(found["seconds"], 20)
        self.assertAlmostEqual(found["two_stage"], 5 - 155 / 200)
        self.assertAlmostEqual(found["dense"], 5 - 55 / 200)

    def test_reports_are_combined(self):
        """Without a GPU. Reports of other settings and seeds that are there twice are refused."""
        def report(number, **settings):
            path = self.folder / f"seed_{number}_{len(list(self.folder.iterdir()))}.json"
            path.write_text(json.dumps({
                "device": "Some GPU", "torch": "2", "settings": {"length": 10, "seeds": 1, "first_seed": number, **settings},
                "entropy": 1.6, "comparison": {}, "at_equal_time": {}, "seeds": [dict(seed_of(2.0, 2.1), seed=number)]}))
            return path

        def run(*paths):
            return subprocess.run([sys.executable, SCRIPT, "--out", self.folder / "all", "--combine", *paths], text=True,
                                  capture_output=True, check=False)
        reports = [report(number) for number in (7, 5, 6)]
        result = run(*reports)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("two-stage minus dense: -0.1000", result.stdout)
        combined = json.loads((self.folder / "all" / "training.json").read_text())
        self.assertEqual([seed["seed"] for seed in combined["seeds"]], [5, 6, 7])
        self.assertEqual(combined["settings"], {"length": 10, "seeds": 3, "first_seed": 5})
        self.assertEqual(combined["comparison"]["verdict"], "below")
        self.assertIn("Some GPU, N = 10", (self.folder / "all" / "training.svg").read_text())
        result = run(*reports, report(8, length=11))
        self.assertRegex(result.stderr, "length is 11 in .*, but 10 in .*; combine reports that differ in their seeds only")
        result = run(*reports, report(5))
        self.assertIn("the reports have the seeds [5, 5, 6, 7]; combine each seed once", result.stderr)

    def test_picture(self):
        picture = xml.fromstring(self.script.draw([seed_of(2.0, 2.1), seed_of(2.0, 2.1)], "Some GPU, N = 10", 1.6))
        name = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len(list(picture.iter(name + "polyline"))), 4)
        self.assertEqual(len(list(picture.iter(name + "circle"))), 2)  # Where the second stage begins.

    def test_runs_of_other_lengths(self):
        """Steps for steps or second for second: the picture's longer curve fills its panel, and the rate falls over each run."""
        longer = dict(seed_of(2.0, 2.1, steps=200), dense=seed_of(2.0, 2.1, steps=100)["dense"])
        picture = xml.fromstring(self.script.draw([longer], "Some GPU, N = 10", 1.6))
        ends = [float(line.get("points").split()[-1].split(",")[0])
                for line in picture.iter("{http://www.w3.org/2000/svg}polyline")]
        self.assertEqual(ends, [400, 225, 820, 645])  # The panels end at 400 and 820, begin at 50 and 470.
        result = subprocess.run([sys.executable, SCRIPT, "--dense-steps", "99"], text=True, capture_output=True, check=False)
        self.assertIn("--dense-steps is 99, but at least 100 are needed", result.stderr)

    def test_learning_rate(self):
        def rates(*steps, decay_from):
            return [round(self.script.rate_at(step, 100, decay_from), 6) for step in steps]
        self.assertEqual(rates(0, 4, 69, 70, 85, 100, decay_from=0.7), [0.2, 1, 1, 1, 0.525, 0.05])
        self.assertEqual(rates(4, 5, 100, decay_from=0), [1, 1, 0.05])

    def test_model_learns(self):
        """A few steps on the CPU, with PyTorch's attention in place of the kernels'."""
        script = self.script
        attention, script.fresnel = script.fresnel, types.SimpleNamespace(attention=lambda q, k, v, method: (
            torch.nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True)
            .transpose(1, 2)))
        try:
            torch.manual_seed(0)
            model = script.Transformer(layers=1, width=script.HEAD_DIM)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            document, losses = script.make_documents(1, 128, 5)[0], []
            for _ in range(8):
                loss = model(document, {"method": "dense"})
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
        finally:
            script.fresnel = attention
        self.assertLess(abs(losses[0] - math.log(script.WORDS + script.NAMES)), 1)
        self.assertLess(losses[-1], losses[0] - 0.5)

    def test_outer_layers_stay_dense(self):
        script, seen = self.script, []

        def record(q, k, v, method):
            seen.append(method)
            return v
        attention, script.fresnel = script.fresnel, types.SimpleNamespace(attention=record)
        try:
            model = script.Transformer(layers=4, width=script.HEAD_DIM, dense_layers=[0, 3])
            model(script.make_documents(1, 8, 5)[0], {"method": "lighthouse"})
        finally:
            script.fresnel = attention
        self.assertEqual(seen, ["dense", "lighthouse", "lighthouse", "dense"])


if __name__ == "__main__":
    unittest.main()
