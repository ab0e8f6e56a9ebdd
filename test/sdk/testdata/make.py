"""Makes the task that an agent will run: a clone with a changed parameter."""
from clearml import Task

with open("train.py", "w") as f:
    f.write("print('train')\n")
made = Task.create(project_name="agent", task_name="template", script="train.py", packages=["clearml"], add_task_init_call=False)
made.set_parameters({"General/name": "plain", "General/steps": 3, "Args/epochs": 1})
made.connect_configuration({"depth": 1}, name="config")
clone = Task.clone(made, name="to run")
clone.update_parameters({"General/name": "changed", "General/steps": 5, "Args/epochs": 7})
clone.set_configuration_object("config", config_dict={"depth": 9})
Task.enqueue(clone, queue_name="default")
print("task=" + clone.id)
