"""What the tests of the Python package share: the build, a cache of their own, the fake driver."""

import functools
import os
import pathlib
import tempfile
import threading
import unittest

BUILD = pathlib.Path(os.environ.get("FRESNEL_BUILD") or pathlib.Path(__file__).resolve().parents[2] / "build").resolve()
EXECUTABLE = BUILD / "bin" / "fresnel"
FAKE_DRIVER = BUILD / "lib" / "libfresnel_fake_driver.so"
INPUTS = pathlib.Path(__file__).resolve().parents[1] / "Tools" / "Inputs"
RUNTIME = BUILD / "lib" / "libfresnel_rt.so.1"


class CacheTest(unittest.TestCase):
    """Runs with a cache in a folder of its own, no tuning database, and the build's executable."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.set_environment(FRESNEL_CACHE_DIR=str(self.folder / "cache"), FRESNEL_DB=str(self.folder / "no-database"),
                             FRESNEL_BIN=str(EXECUTABLE), FRESNEL_RUNTIME=str(RUNTIME))

    def set_environment(self, **values):
        for name, value in values.items():
            self.addCleanup(functools.partial(os.environ.__setitem__, name, os.environ[name]) if name in os.environ
                            else functools.partial(os.environ.pop, name, None))
            os.environ[name] = value


def use_fake_driver():
    """Before the runtime is loaded: it keeps the first driver that it finds."""
    os.environ["FRESNEL_CUDA_DRIVER"] = str(FAKE_DRIVER)


def in_threads(work, count=4):
    """Runs `work` in threads at once; what they raised."""
    errors = []

    def guarded():
        try:
            work()
        except Exception as error:  # Reported by the main thread.
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def capture(run):
    """A CUDA graph of `run`, which runs once before on another stream, and what the captured call gave."""
    import torch
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph, result


needs_compiler = unittest.skipUnless(EXECUTABLE.exists(), f"{EXECUTABLE} was not built")
needs_fake_driver = unittest.skipUnless(FAKE_DRIVER.exists() and RUNTIME.exists(), f"{FAKE_DRIVER} was not built")
