"""Asks for the end of a running task, as the web page's button does."""
import sys
from clearml import Task

task = Task.get_task(task_id=sys.argv[1])
task.mark_stop_request(status_message="please")
task.reload()
assert task.get_status() == "in_progress" and task.data.status_message == "stopping", (task.get_status(), task.data.status_message)
