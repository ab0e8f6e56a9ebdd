"""A small data set: made, filled, finalised, read."""
import os
from clearml import Dataset

os.makedirs("data")
for name in ("one", "two"):
    with open(os.path.join("data", name + ".txt"), "w") as f:
        f.write(name)
made = Dataset.create(dataset_project="data", dataset_name="set", dataset_version="1.0.0")
made.add_files("data")
made.upload(verbose=False)
made.finalize()
got = Dataset.get(dataset_project="data", dataset_name="set")
assert got.id == made.id and sorted(got.list_files()) == ["one.txt", "two.txt"], got.list_files()
folder = got.get_local_copy()
with open(os.path.join(folder, "two.txt")) as f:
    assert f.read() == "two"
assert [d["name"] for d in Dataset.list_datasets(dataset_project="data")] == ["set"]
