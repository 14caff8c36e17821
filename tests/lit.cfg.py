"""lit configuration of the Fresnel test suite.

Features: `ptxas` and `nvdisasm` (CUDA's assembler and disassembler were found), `cuda` (there is a GPU), `launch-bench` (it was built).
Substitutions: %fresnel, %fresnel-opt, %launch-bench, %ptxas, %nvdisasm, %python, %tests (the tests folder),
%fake-driver (the driver library of the unit tests).
"""

import os
import shutil
import sys

import lit.formats

config.name = "Fresnel"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "unit", "fuzz", "install", "gpu", "CMakeLists.txt"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.fresnel_build, "tests")

tools = os.path.join(config.fresnel_build, "bin")
path = os.pathsep.join([tools, config.llvm_tools, os.environ.get("PATH", "")])
config.environment["PATH"] = path
for name in ("HOME", "CUDA_HOME", "LD_LIBRARY_PATH"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
# Messages must not depend on the caller's terminal.
config.environment["NO_COLOR"] = "1"

# Nor on what the caller has tuned or compiled.
config.environment["FRESNEL_CACHE_DIR"] = os.path.join(config.test_exec_root, "cache")
config.environment["FRESNEL_DB"] = os.path.join(config.test_exec_root, "no-database")

cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
ptxas, nvdisasm = (shutil.which(tool) or shutil.which(tool, path=os.path.join(cuda, "bin")) for tool in ("ptxas", "nvdisasm"))
if ptxas:
    config.available_features.add("ptxas")
if nvdisasm:
    config.available_features.add("nvdisasm")
if os.path.exists("/dev/nvidiactl"):
    config.available_features.add("cuda")
if os.path.exists(os.path.join(tools, "launch-bench")):
    config.available_features.add("launch-bench")
if os.geteuid() == 0:
    config.available_features.add("root")

config.substitutions += [
    ("%fresnel-opt", os.path.join(tools, "fresnel-opt")),
    ("%fresnel-lsp-server", os.path.join(tools, "fresnel-lsp-server")),
    ("%launch-bench", os.path.join(tools, "launch-bench")),
    (r"%fresnel\b", os.path.join(tools, "fresnel")),
    ("%ptxas", ptxas or "ptxas"),
    ("%nvdisasm", nvdisasm or "nvdisasm"),
    ("%fake-driver", os.path.join(config.fresnel_build, "lib", "libfresnel_fake_driver.so")),
    ("%python", sys.executable),
    ("%tests", config.test_source_root),
]
