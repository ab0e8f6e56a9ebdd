"""A task by hand: everything that it reports is read back."""
import numpy as np
from clearml import Task

task = Task.init(project_name="some project/below it", task_name="by hand", auto_resource_monitoring=False)
params = task.connect({"lr": 0.1, "steps": 3, "nested": {"a": "b"}})
assert params["lr"] == 0.1
task.connect_configuration({"a": 1, "list": [1, 2]}, name="config")
task.set_user_properties(owner="me", nothing="")
task.set_comment("a comment")
task.add_tags(["one", "two"])
log = task.get_logger()
for i in range(200):
    log.report_scalar("loss", "train", value=1.0 / (i + 1), iteration=i)
    log.report_scalar("loss", "test", value=2.0 / (i + 1), iteration=i)
log.report_single_value("final", 42.5)
log.report_text("a line of text äöü")
log.report_table("table", "t", iteration=0, table_plot=[["a", "b"], [1, 2]])
log.report_scatter2d("scatter", "s", iteration=0, scatter=[[0, 1], [1, 2]])
log.report_histogram("histogram", "h", iteration=1, values=[1, 2, 3])
log.report_image("image", "i", iteration=0, image=np.zeros((8, 8, 3), dtype=np.uint8))
print("a printed line")
assert task.upload_artifact("dictionary", {"k": [1, 2, 3]}, wait_on_upload=True)
assert task.upload_artifact("näme with space", np.arange(4), wait_on_upload=True)
assert task.upload_artifact("second", "text", wait_on_upload=True)
task.flush(wait_for_uploads=True)
task_id = task.id
task.close()

got = Task.get_task(task_id=task_id)
assert got.get_status() == "completed", got.get_status()
assert got.name == "by hand" and got.get_project_name() == "some project/below it", (got.name, got.get_project_name())
scalars = got.get_reported_scalars()
assert scalars["loss"]["train"]["x"] == list(range(200)), scalars
assert scalars["loss"]["test"]["y"][1] == 1.0
assert got.get_all_reported_scalars()["loss"]["train"]["y"][199] == 1.0 / 200
assert got.get_reported_scalars(max_samples=10)["loss"]["train"]["x"].__len__() == 10
last = got.get_last_scalar_metrics()["loss"]["train"]
assert last == {"last": 0.005, "min": 0.005, "max": 1.0}, last
assert got.get_reported_single_value("final") == 42.5
console = "\n".join(got.get_reported_console_output(100))
assert "a line of text äöü" in console and "a printed line" in console, console
plots = {(p["metric"], p["variant"]) for p in got.get_reported_plots(max_iterations=3)}
assert plots == {("table", "t"), ("scatter", "s"), ("histogram", "h")}, plots
assert got.artifacts["dictionary"].get() == {"k": [1, 2, 3]}
assert list(got.artifacts["näme with space"].get()) == [0, 1, 2, 3]
assert set(got.artifacts) == {"dictionary", "näme with space", "second"}
assert got.get_parameters()["General/lr"] == "0.1" and got.get_parameters()["General/nested/a"] == "b"
assert got.get_configuration_object_as_dict("config") == {"a": 1, "list": [1, 2]}
assert got.get_user_properties(value_only=True)["owner"] == "me"
assert got.comment == "a comment" and sorted(got.get_tags()) == ["one", "two"]
assert got.get_last_iteration() == 199, got.get_last_iteration()
assert got.delete_artifacts(["second"])
assert "second" not in Task.get_task(task_id=task_id).artifacts

# The same again reuses nothing of it and continues where it is told to.
again = Task.init(project_name="some project/below it", task_name="by hand", continue_last_task=task_id, auto_resource_monitoring=False)
assert again.id == task_id and again.get_status() == "in_progress"
again.get_logger().report_scalar("more", "m", value=1, iteration=0)
again.close()
