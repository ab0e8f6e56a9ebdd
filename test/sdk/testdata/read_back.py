"""What the author sees of a task that an agent has run."""
import sys
from clearml import Task

task = Task.get_task(task_id=sys.argv[1])
assert task.get_status() == "completed", task.get_status()
assert task.get_reported_scalars()["loss"]["train"]["y"] == [0, 1, 2, 3, 4]
assert task.artifacts["result"].get() == {"name": "changed"}
assert task.get_reported_console_output(10) == ["one\ntwo"], task.get_reported_console_output(10)
model = task.models["output"][-1]
with open(model.get_local_copy(), "rb") as f:
    assert f.read() == b"weights"
assert task.data.script.requirements["pip"] == ["clearml==2.1.12"], task.data.script.requirements
assert task.get_user_properties(value_only=True)["done"] == "yes"
assert task.data.started and task.data.completed and task.data.status_reason == "worker execution done"
