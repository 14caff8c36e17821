"""Runs a command that must end with an exit code, and prints what it printed. Usage: expect.py CODE COMMAND..."""

import subprocess
import sys

result = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
print(result.stdout)
sys.exit(0 if result.returncode == int(sys.argv[1]) else f"the exit code is {result.returncode}, but should be {sys.argv[1]}")
