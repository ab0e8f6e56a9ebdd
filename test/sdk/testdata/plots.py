"""All that a Logger reports beside scalars, and every way to read it."""
import json
import numpy as np
from PIL import Image
from clearml import Logger, Task
from clearml.logger import SeriesInfo
from checks import check, close, same

task = Task.init(project_name="plots", task_name="reports", auto_resource_monitoring=False)
log = task.get_logger()
matrix = np.arange(9).reshape(3, 3)
Image.new("RGB", (8, 8), "red").save("red.png")
with open("table.csv", "w") as f:
    f.write("a,b\n1,2\n")

log.report_vector("vector", "v", values=[1, 2, 3], iteration=0, xlabels=["a", "b", "c"])
log.report_line_plot("line", [SeriesInfo(name="one", data=np.array([[0, 1], [1, 2]])), SeriesInfo(name="two", data=np.array([[0, 2], [1, 3]]))], xaxis="x", yaxis="y", iteration=0)
log.report_scatter3d("scatter", "3d", scatter=[(0, 1, 2), (1, 2, 3)], iteration=0, xaxis="x", yaxis="y", zaxis="z")
log.report_confusion_matrix("confusion", "c", matrix=matrix, iteration=0, xlabels=["a", "b", "c"], ylabels=["a", "b", "c"])
log.report_matrix("matrix", "m", matrix=matrix, iteration=0)
log.report_surface("surface", "s", matrix=matrix, iteration=0)
log.report_table("table", "list", iteration=0, table_plot=[["ä", "b"], [1, "two"]])
log.report_plotly("plotly", "p", iteration=0, figure={"data": [{"type": "scatter", "y": [1, 2]}], "layout": {"note": "an ünusual text"}})
for i in range(3):
    log.report_histogram("histogram", "h", iteration=i, values=[i, i + 1])
    log.report_image("image", "file", iteration=i, local_path="red.png")
log.report_image("image", "array", iteration=0, image=np.zeros((4, 4, 3), dtype=np.uint8))
log.report_image("image", "address", iteration=0, url="https://example.com/a.png")
log.report_media("media", "text", iteration=0, local_path="table.csv")
for i in range(30):
    log.report_scalar("many", "s", value=i * 0.5, iteration=i * 10)
log.report_scalar("not a number", "nan", value=float("nan"), iteration=0)
log.report_single_value("single", 3)
log.report_single_value("single", 4.5)
log.report_text("an odd line", level=30)
log.report_text("line one\nline two", print_console=False)
task.set_progress(40)
task.flush(wait_for_uploads=True)
got = Task.get_task(task_id=task.id)


@check
def plots():
    found = {}
    for plot in got.get_reported_plots(max_iterations=10):
        found.setdefault((plot["metric"], plot["variant"]), []).append(json.loads(plot["plot_str"]))
    same(sorted(found), [("confusion", "c"), ("histogram", "h"), ("line", ""), ("matrix", "m"), ("plotly", "p"), ("scatter", "3d"), ("surface", "s"), ("table", "list"), ("vector", "v")])
    same(found[("plotly", "p")][0]["layout"]["note"], "an ünusual text")
    same(len(found[("histogram", "h")]), 3)


@check
def the_newest_plots():
    same(len([p for p in got.get_reported_plots(max_iterations=1) if p["metric"] == "histogram"]), 1)


@check
def images():
    samples = got.get_debug_samples("image", "file", n_last_iterations=2)
    same([s["iter"] for s in samples], [2, 1])
    from clearml import StorageManager
    with open(StorageManager.get_local_copy(samples[0]["url"]), "rb") as f, open("red.png", "rb") as g:
        same(f.read(), g.read())
    same(got.get_debug_samples("image", "address")[0]["url"], "https://example.com/a.png")
    same(len(got.get_debug_samples("media", "text")), 1)


@check
def scalars_by_time():
    for axis in ("timestamp", "iso_time"):
        x = got.get_reported_scalars(x_axis=axis)["many"]["s"]["x"]
        assert len(x) == 30 and sorted(x) == x, (axis, x)
    same(got.get_all_reported_scalars(x_axis="iter")["many"]["s"]["x"], list(range(0, 300, 10)))


@check
def fewer_scalars():
    few = got.get_reported_scalars(max_samples=5)["many"]["s"]
    assert 1 < len(few["x"]) <= 5, few


@check
def single_values():
    same(got.get_reported_single_values(), {"single": 4.5})
    same(got.get_reported_single_value("single"), 4.5)
    same(got.get_reported_single_value("nothing"), None)


@check
def last_metrics():
    last = got.get_last_scalar_metrics()
    same(last["many"]["s"], {"last": 14.5, "min": 0.0, "max": 14.5})
    same(got.get_last_iteration(), 290)
    same(got.get_progress(), 40)


@check
def console():
    text = "\n".join(got.get_reported_console_output(100))
    assert "an odd line" in text and "line one\nline two" in text, text
    same(len(got.get_reported_console_output(1)), 1)


@check
def a_graph_of_many():
    other = Task.create(project_name="plots", task_name="other")
    reports = other.get_logger()
    for i in range(3):
        reports.report_scalar("many", "s", value=i, iteration=i)
    other.flush(wait_for_uploads=True)
    from clearml.backend_api.session.client import APIClient
    both = APIClient().events.multi_task_scalar_metrics_iter_histogram(tasks=[task.id, other.id])
    same(sorted(both.metrics["metrics"]["many"]["s"]), sorted([task.id, other.id]))


@check
def reports_of_an_earlier_run_go():
    task.close()
    old = Task.get_task(task_id=task.id)
    old.reset(force=True)
    same(old.get_reported_scalars(), {})
    same(old.get_reported_plots(), [])
    same(old.get_reported_console_output(10), [])
    same(old.get_last_scalar_metrics(), {})


close()
