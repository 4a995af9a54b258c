"""What importing the package does and does not do."""

import os
import subprocess
import sys

import pytest

ASK = "import os; print(os.environ.get('OMP_WAIT_POLICY'))"


def answer(code: str, **environment: str) -> str:
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**plain, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "environment", "policy"),
    [
        (f"import tuneproof; {ASK}", {}, "PASSIVE"),
        (f"import tuneproof; {ASK}", {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        (f"import torch, tuneproof; {ASK}", {}, "None"),
    ],
)
def test_threads_wait_without_spinning_unless_the_user_or_a_loaded_torch_has_decided(
    code, environment, policy
) -> None:
    assert answer(code, **environment) == policy


def test_importing_the_package_loads_no_torch() -> None:
    assert answer("import sys, tuneproof; print('torch' in sys.modules)") == "False"
