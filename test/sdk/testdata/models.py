"""Models: put out, found, read, published."""
from clearml import InputModel, Model, OutputModel, Task

task = Task.init(project_name="models", task_name="trains", auto_resource_monitoring=False)
out = OutputModel(task=task, name="net", framework="PyTorch", label_enumeration={"cat": 1})
with open("net.pt", "wb") as f:
    f.write(b"net")
out.update_weights("net.pt", auto_delete_file=False)
out.set_metadata("accuracy", "0.9", "float")
task.flush(wait_for_uploads=True)
again = InputModel(model_id=out.id)
assert again.name.endswith("net") and again.framework == "PyTorch" and again.labels == {"cat": 1}, (again.name, again.framework, again.labels)
with open(again.get_local_copy(), "rb") as f:
    assert f.read() == b"net"
task.connect(again)
out.publish()
task.close()
found = Model.query_models(project_name="models")
assert [m.id for m in found] == [out.id], found
got = Task.get_task(task_id=task.id)
assert got.models["output"][0].id == out.id and got.models["input"][0].id == out.id
assert Model(out.id).get_metadata("accuracy") == "0.9"
assert Model(out.id).published
