"""What a user does with the clearml SDK: make a task of this checkout, read its results.

client.py submit NAME    makes a task of train.py in this folder's git checkout and
                         enqueues it; prints its id
client.py results TASK   prints the scalar and the artifact that the task reported;
                         exit code 1 unless they are what they should be
"""

import sys

from clearml import Task


def submit(name):
    task = Task.create(
        project_name="quickstart",
        task_name=name,
        script="train.py",
        requirements_file="requirements.txt",
        add_task_init_call=False,
    )
    Task.enqueue(task, queue_name="default")
    print(f"task {task.id}")


def results(task_id):
    task = Task.get_task(task_id=task_id)
    loss = task.get_reported_scalars()["loss"]["descent"]
    artifact = task.artifacts["minimum"].get()
    print(f"scalar    loss, {len(loss['y'])} values, from {loss['y'][0]:.4f} to {loss['y'][-1]:.6f}")
    print(f"artifact  minimum = {artifact}")
    if task.get_status() != "completed" or len(loss["y"]) != 20:
        sys.exit(f"the task is {task.get_status()} with {len(loss['y'])} values, want completed with 20")
    if artifact["rate"] != 0.3 or abs(artifact["x"] - 3.0) > 0.01:
        sys.exit("the task did not run with the uncommitted change")


if __name__ == "__main__":
    {"submit": submit, "results": results}[sys.argv[1]](sys.argv[2])
