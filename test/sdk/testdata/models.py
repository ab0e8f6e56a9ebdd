"""Models: put out, found, read, published, taken away."""
import pathlib
import time
from clearml import InputModel, Model, OutputModel, StorageManager, Task
from clearml.backend_api.session.client import APIClient
from checks import check, close, same

task = Task.init(project_name="models", task_name="trains", auto_resource_monitoring=False)
out = OutputModel(task=task, name="net", framework="PyTorch", label_enumeration={"cat": 1}, tags=["first"], comment="words", config_dict={"depth": 2})
pathlib.Path("net.pt").write_bytes(b"net")
out.update_weights("net.pt", auto_delete_file=False)
out.set_metadata("accuracy", "0.9", "float")
pathlib.Path("a.txt").write_text("a")
pathlib.Path("b.txt").write_text("b")
package = OutputModel(task=task, name="package")
package.update_weights_package(weights_filenames=["a.txt", "b.txt"], auto_delete_file=False, async_enable=False)
task.flush(wait_for_uploads=True)


@check
def what_was_put_out():
    again = InputModel(model_id=out.id)
    same((again.name.endswith("net"), again.framework, again.labels, again.tags, again.comment.split("\n")[-1], dict(again.config_dict)), (True, "PyTorch", {"cat": 1}, ["first"], "words", {"depth": 2}))
    same(pathlib.Path(again.get_local_copy()).read_bytes(), b"net")
    folder = pathlib.Path(Model(package.id).get_local_copy())
    same(sorted(p.name for p in folder.iterdir()), ["a.txt", "b.txt"])


@check
def metadata():
    out.set_all_metadata({"size": {"value": "3", "type": "int"}}, replace=False)
    same(Model(out.id).get_all_metadata_casted(), {"accuracy": 0.9, "size": 3})
    out.set_all_metadata({"only": {"value": "x", "type": "str"}}, replace=True)
    same(Model(out.id).get_all_metadata(), {"only": {"key": "only", "value": "x", "type": "str"}})
    out.set_metadata("accuracy", "0.9", "float")
    same(Model(out.id).get_metadata("accuracy"), "0.9")


@check
def changes():
    out.name = "renamed"
    out.comment = "other words"
    out.tags = ["second"]
    out.update_labels({"dog": 2})
    out.update_design(config_text="depth = 3")
    got = Model(out.id)
    same((got.name, got.comment, got.tags, got.labels, got.config_text), ("renamed", "other words", ["second"], {"dog": 2}, "depth = 3"))


@check
def reports():
    out.report_scalar("loss", "m", value=1.5, iteration=3)
    out.report_single_value("best", 2.0)
    out.report_histogram("h", "s", values=[1, 2], iteration=0)
    out.report_table("t", "s", iteration=0, table_plot=[["a"], [1]])
    # A model's reports go in the background, and can't once it is published.
    events, found = APIClient().events, []
    while len(found) < 2:
        time.sleep(0.05)
        found = events.get_multi_task_plots(tasks=[out.id], model_events=True).plots
    same(sorted(found), ["h", "t"])
    same(events.get_scalar_metrics_and_variants(task=out.id, model_events=True).metrics["loss"], ["m"])


@check
def connected():
    task.connect(InputModel(model_id=out.id), name="start")
    known = InputModel.import_model(weights_url="https://example.com/known.pt", name="known", framework="Keras")
    task.connect(known)
    global given
    given = known.id
    got = Task.get_task(task_id=task.id).get_models()
    same(([m.id for m in got["output"]], sorted(m.id for m in got["input"])), ([out.id, package.id], sorted([out.id, known.id])))
    task.remove_input_models([known.id])
    same([m.id for m in Task.get_task(task_id=task.id).get_models()["input"]], [out.id])


@check
def queries():
    ids = lambda **f: sorted(m.id for m in Model.query_models(**f))
    same(ids(project_name="models", tags=["second"]), [out.id])
    same(ids(project_name="models", model_name="renamed"), [out.id])
    same(ids(metadata={"accuracy": "0.9"}), [out.id])
    same(ids(project_name="models", only_published=True), [])
    package.archive()
    same(ids(project_name="models"), sorted([out.id, given]))
    same(ids(project_name="models", include_archived=True), sorted([out.id, package.id, given]))
    package.unarchive()
    out.publish()
    assert Model(out.id).published
    same(ids(project_name="models", only_published=True), [out.id])


@check
def removing():
    url = package.url
    assert Model.remove(package.id, raise_on_errors=True, force=True)
    same(sorted(m.id for m in Model.query_models(project_name="models", include_archived=True)), sorted([out.id, given]))
    assert not StorageManager.exists_file(url)


task.close()
close()
