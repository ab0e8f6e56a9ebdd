"""What runs under an agent, with a token for its task alone."""
import argparse
import sys
from clearml import Task, OutputModel

task = Task.init(project_name="ignored", task_name="ignored", auto_resource_monitoring=False)
assert Task.running_locally() is False
params = task.connect({"name": "default", "steps": 1})
assert params == {"name": "changed", "steps": 5}, params
assert task.connect_configuration({"depth": 0}, name="config") == {"depth": 9}
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=0)
sys.argv = sys.argv[:1]
assert parser.parse_args().epochs == 7
for i in range(params["steps"]):
    task.get_logger().report_scalar("loss", "train", value=i, iteration=i)
task.upload_artifact("result", {"name": params["name"]}, wait_on_upload=True)
with open("weights.bin", "wb") as f:
    f.write(b"weights")
model = OutputModel(task=task, name="weights", framework="PyTorch", tags=["t"])
model.update_weights("weights.bin", auto_delete_file=False)
child = Task.clone(task, name="child of it")
Task.enqueue(child, queue_name="default")
assert child.get_status() == "queued"
task.set_user_properties(done="yes")
