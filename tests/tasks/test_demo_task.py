from collections import Counter

from tuneproof.tasks import TASKS


def test_the_demo_is_read_from_the_package():
    task = TASKS["demo"]
    rows = task.read(task.options())
    assert set(rows.parts) == {"train", "test"}
    assert sum(map(len, rows.parts.values())) >= 200
    for items in rows.parts.values():
        assert len(Counter(item.label for item in items)) == 2
    groups = [{item.group for item in items} for items in rows.parts.values()]
    assert not groups[0] & groups[1]
