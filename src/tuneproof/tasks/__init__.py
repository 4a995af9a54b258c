"""The catalog of tasks.

In: nothing. Out: TASKS, by name. Knows nothing of: recipes, models, splits.
"""

from tuneproof.tasks import demo_task, imdb, labels, questions, squad_v2, sst2, written_answers
from tuneproof.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *(sst2.TASK, imdb.TASK, squad_v2.TASK, labels.TASK, questions.TASK, written_answers.TASK),
        demo_task.TASK,
    )
}
