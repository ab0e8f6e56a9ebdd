package e2e_test

// What authors let run many tasks: optimizers and pipelines, of the real SDK.

// optimize tries a task with four hyperparameters, two at a time, and prints what the
// objective was.
const optimize = `import sys
from clearml import Task
from clearml.automation import DiscreteParameterRange, HyperParameterOptimizer, RandomSearch
task = Task.init(project_name="e2e", task_name="optimizer", task_type=Task.TaskTypes.optimizer, auto_resource_monitoring=False)
optimizer = HyperParameterOptimizer(
    base_task_id=sys.argv[1], hyper_parameters=[DiscreteParameterRange("General/steps", [2, 3, 4, 5])],
    objective_metric_title="steps", objective_metric_series="all", objective_metric_sign="min",
    max_number_of_concurrent_tasks=2, optimizer_class=RandomSearch, execution_queue="default", total_max_jobs=4, pool_period_min=0.02,
)
optimizer.set_report_period(0.02)
assert optimizer.start()
optimizer.wait()
top = optimizer.get_top_experiments(top_k=10)
assert [t.get_status() for t in top] == ["completed"] * 4, [t.get_status() for t in top]
assert all(t.parent == task.id for t in top)
print("read=" + str([t.get_last_scalar_metrics()["steps"]["all"]["last"] for t in top]))
optimizer.stop()
task.close()
`

// functions is a pipeline whose steps are functions.
const functions = `import sys
from clearml import PipelineController, Task
def make(n):
    print("makes", n)
    return list(range(int(n) + 1))
def add(a, b):
    print("adds", a, b)
    return sum(a) + int(b)
p = PipelineController(name="functions", project="e2e", version="1.0")
p.set_default_execution_queue("default")
p.add_parameter("n", 5)
needs = dict(packages=["clearml==" + sys.argv[1]])
p.add_function_step("numbers", make, {"n": "${pipeline.n}"}, function_return=["value"], **needs)
p.add_function_step("sum", add, {"a": "${numbers.value}", "b": 2}, function_return=["total"], **needs)
p._pool_frequency = 0.05
p.start_locally(run_pipeline_steps_locally=False)
p.wait()
assert p.is_successful()
sums = Task.get_task(p.get_processed_nodes()["sum"].executed)
print("read=" + sums.get_parameter("return/total"))
`
