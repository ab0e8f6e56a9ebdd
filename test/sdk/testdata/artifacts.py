"""Artifacts of every kind, and files without a task."""
import os
import pathlib
import numpy as np
from PIL import Image
from clearml import StorageManager, Task
from checks import check, close, same

task = Task.init(project_name="artifacts", task_name="many", auto_resource_monitoring=False)
os.makedirs("folder/deep")
for name, text in {"folder/one.txt": "1", "folder/deep/two.txt": "2"}.items():
    pathlib.Path(name).write_text(text)
big = os.urandom(5 << 20)
pathlib.Path("big.bin").write_bytes(big)
objects = {
    "dictionary": {"a": [1, None, {"b": "ü"}]}, "list": [1, 2], "number": 5, "text": "words\n" * 100, "array": np.arange(6).reshape(2, 3),
    "a/name with/slashes": {"x": 1}, "ünusual % name?#": {"y": 2},
}
for name, value in objects.items():
    assert task.upload_artifact(name, value, metadata={"of": "test"}, wait_on_upload=True), name
for name, path in {"file": "big.bin", "folder": "folder", "wildcard": "folder/*.txt"}.items():
    assert task.upload_artifact(name, pathlib.Path(path) if name == "file" else path, wait_on_upload=True), name
assert task.upload_artifact("picture", Image.new("RGB", (4, 4), "blue"), wait_on_upload=True)
assert task.upload_artifact("address", "https://example.com/file.zip", wait_on_upload=True)
assert task.upload_artifact("preview", {"a": 1}, preview="see here", wait_on_upload=True)
got = Task.get_task(task_id=task.id)


@check
def objects_come_back():
    for name, value in objects.items():
        back = got.artifacts[name].get()
        assert np.array_equal(back, value) if name == "array" else back == value, (name, back)


@check
def files_come_back():
    same(pathlib.Path(got.artifacts["file"].get_local_copy()).read_bytes(), big)
    same((got.artifacts["file"].size, len(got.artifacts["file"].hash)), (len(big), 64))
    for name, files in {"folder": ["deep/two.txt", "one.txt"], "wildcard": ["deep/two.txt", "one.txt"]}.items():
        folder = pathlib.Path(got.artifacts[name].get_local_copy())
        same(sorted(str(p.relative_to(folder)) for p in folder.rglob("*.txt")), files)


@check
def what_is_said_of_them():
    same(got.artifacts["dictionary"].metadata, {"of": "test"})
    same(got.artifacts["preview"].preview, "see here")
    same(got.artifacts["address"].url, "https://example.com/file.zip")
    same(got.artifacts["picture"].get().size, (4, 4))


@check
def a_new_one_of_the_same_name():
    assert task.upload_artifact("dictionary", {"new": True}, wait_on_upload=True)
    same(Task.get_task(task_id=task.id).artifacts["dictionary"].get(force_download=True), {"new": True})


@check
def deleting():
    url = got.artifacts["list"].url
    assert task.delete_artifacts(["list", "number"], raise_on_errors=True)
    left = set(Task.get_task(task_id=task.id).artifacts)
    assert "list" not in left and "number" not in left and "text" in left, left
    assert not StorageManager.exists_file(url)


@check
def files_without_a_task():
    base = os.environ["CLEARML_FILES_HOST"]
    url = StorageManager.upload_file("big.bin", base + "/some folder/big.bin")
    assert StorageManager.exists_file(url)
    same(StorageManager.get_file_size_bytes(url), len(big))
    same(pathlib.Path(StorageManager.get_local_copy(url)).read_bytes(), big)
    assert not StorageManager.exists_file(base + "/some folder/none.bin")


task.close()
close()
