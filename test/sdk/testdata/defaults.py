"""A task whose reports go through the SDK's background process."""
from clearml import Task

task = Task.init(project_name="defaults", task_name="with defaults")
task.connect({"a": 1})
task.get_logger().report_scalar("m", "v", value=1, iteration=0)
print("a line")
task.upload_artifact("a", {"b": 1})
task.close()
got = Task.get_task(task_id=task.id)
assert got.get_status() == "completed"
assert got.get_reported_scalars()["m"]["v"]["y"] == [1]
assert got.artifacts["a"].get() == {"b": 1}
assert "a line" in "\n".join(got.get_reported_console_output(50))
