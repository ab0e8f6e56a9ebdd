"""Finds the minimum of a parabola, and reports on the way."""

from clearml import Task

task = Task.init(project_name="quickstart", task_name="descent")
params = task.connect({"steps": 20, "start": 8.0})

RATE = 0.05  # the uncommitted change of the quickstart makes it 0.3

x = float(params["start"])
log = task.get_logger()
for step in range(int(params["steps"])):
    loss = (x - 3.0) ** 2
    x -= RATE * 2.0 * (x - 3.0)
    log.report_scalar("loss", "descent", value=loss, iteration=step)
    if step % 5 == 0:
        print(f"step {step:2d}  x {x:.4f}  loss {loss:.4f}", flush=True)

print(f"rate {RATE}: the minimum is at {x:.4f}")
task.upload_artifact("minimum", artifact_object={"x": x, "rate": RATE})
task.close()
