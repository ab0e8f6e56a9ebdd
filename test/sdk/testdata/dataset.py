"""Data sets: made, filled, finalised, read, built on each other."""
import os
import pathlib
from clearml import Dataset, Task
from checks import check, close, same

data = pathlib.Path("data")
(data / "deep").mkdir(parents=True)
files = {"one.txt": b"one", "two.txt": b"two" * 1000, "deep/ünusual name.bin": os.urandom(100000)}
for name, content in files.items():
    (data / name).write_bytes(content)
made = Dataset.create(dataset_project="data", dataset_name="set", dataset_version="1.0.0", dataset_tags=["small"], description="three files")
made.add_files("data")
made.set_metadata({"k": 1})
made.upload(verbose=False, show_progress=False)
made.finalize()


def content(folder):
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@check
def the_same_bytes():
    got = Dataset.get(dataset_project="data", dataset_name="set")
    same((got.id, got.is_final(), sorted(got.list_files()), got.tags, got.version), (made.id, True, sorted(files), ["small"], "1.0.0"))
    same(content(got.get_local_copy()), files)
    same(content(got.get_mutable_local_copy("own")), files)
    same(got.verify_dataset_hash(), [])
    same(got.get_metadata(), {"k": 1})


@check
def a_version_on_top():
    child = Dataset.create(dataset_project="data", dataset_name="set", parent_datasets=[made.id])
    child.remove_files("one.txt")
    (data / "three.txt").write_bytes(b"three")
    (data / "two.txt").write_bytes(b"changed")
    child.add_files(str(data / "three.txt"))
    child.add_files(str(data / "two.txt"))
    child.finalize(auto_upload=True)
    got = Dataset.get(dataset_project="data", dataset_name="set")
    same((got.id, got.version, got.list_removed_files(), got.list_added_files(), got.list_modified_files()), (child.id, "1.0.1", ["one.txt"], ["three.txt"], ["two.txt"]))
    same(content(got.get_local_copy()), {"two.txt": b"changed", "three.txt": b"three", "deep/ünusual name.bin": files["deep/ünusual name.bin"]})
    same(got.get_dependency_graph(), {child.id: [made.id], made.id: []})
    same(sorted(content(Dataset.get(dataset_id=made.id).get_local_copy())), sorted(files))
    squashed = Dataset.squash("squashed", dataset_ids=[child.id])
    same(sorted(squashed.list_files()), sorted(got.list_files()))
    squashed.publish()
    same(Dataset.get(dataset_id=squashed.id, only_published=True).id, squashed.id)


@check
def listing():
    same(sorted((d["name"], d["version"]) for d in Dataset.list_datasets(dataset_project="data", partial_name="set")), [("set", "1.0.0"), ("set", "1.0.1")])
    same([d["id"] for d in Dataset.list_datasets(dataset_project="data", tags=["small"])], [made.id])


@check
def moving_and_deleting():
    Dataset.move_to_project("moved", dataset_project="data", dataset_name="set")
    same(Dataset.get(dataset_project="moved", dataset_name="set", dataset_version="1.0.0").id, made.id)
    Dataset.rename("renamed", dataset_project="moved", dataset_name="set")
    same(Task.get_task(task_id=made.id).get_project_name(), "moved/.datasets/renamed")
    Dataset.rename("set", dataset_project="moved", dataset_name="renamed")
    Dataset.delete(dataset_project="moved", dataset_name="set", entire_dataset=True, force=True)
    same(Dataset.list_datasets(dataset_project="moved"), [])


close()
