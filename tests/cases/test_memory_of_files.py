"""Small files of the given cases that took gigabytes or minutes are refused, or read in bounded memory.

In: the cases' files. Out: the command's sentence. Knows nothing of: how files are read.
"""

import subprocess
import sys

import pytest

from tests.open_model import SHARED

CASES = SHARED / "cases"
LIMITED = "ulimit -v 8388608; ulimit -c 0; exec timeout 60 "
REFUSED = {
    "strangers-02-parquet-dictionary/dict.parquet": "unpacks to",
    "strangers-03-parquet-nulls/nulls.parquet": "has 300,000,000 rows. At most 10,000,000 are allowed.",
    "strangers-05-squad-context-shared/ctx.json": "contexts of the questions up to this one have",
    "strangers-07-gz-of-lists/lists.json.gz": "so many lists, objects and values",
}


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize("name", REFUSED)
def test_a_small_file_that_becomes_large_is_refused(name, tmp_path):
    options = "--text review --label mood" if name.endswith(".parquet") else "--questions"
    command = f"{sys.executable} -m tuneproof check {CASES / name} {options} --arms majority"
    result = subprocess.run(
        ["bash", "-c", LIMITED + command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode in (1, 2), result.stderr
    assert REFUSED[name] in result.stderr
    assert len(result.stderr.splitlines()) == 1
