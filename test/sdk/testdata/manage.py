"""What an author does with tasks without running them."""
from clearml import Task

with open("train.py", "w") as f:
    f.write("print('train')\n")

made = Task.create(project_name="manage", task_name="made", script="train.py", packages=["numpy"], add_task_init_call=False)
made.set_parameters({"General/lr": 0.1, "Args/epochs": 3})
assert made.get_status() == "created" and made.data.script.entry_point == "train.py"
clone = Task.clone(source_task=made, name="clone of made", comment="cloned")
clone.set_parameter("General/lr", 0.5)
assert clone.get_parameters() == {"General/lr": "0.5", "Args/epochs": "3"}, clone.get_parameters()
assert clone.parent == made.id and clone.data.script.diff == made.data.script.diff

Task.enqueue(made, queue_name="default")
Task.enqueue(clone, queue_name="default")
assert made.get_status() == clone.get_status() == "queued"
from clearml.backend_api.session.client import APIClient
client = APIClient()
queue = client.queues.get_default()
entries = client.queues.get_by_id(queue=queue.id).entries
assert [e.task for e in entries] == [made.id, clone.id], entries
assert client.queues.get_num_entries(queue=queue.id).num == 2
client.queues.move_task_to_front(queue=queue.id, task=clone.id)
assert client.queues.get_by_id(queue=queue.id).entries[0].task == clone.id
Task.dequeue(made)
assert made.get_status() == "created"
created = client.queues.create(name="another queue")
Task.enqueue(made, queue_name="another queue")
assert client.queues.get_by_id(queue=created.id).entries[0].task == made.id
assert [w.id for w in client.workers.get_all()] == []

clone.mark_stopped()
clone.reload()
assert clone.get_status() == "stopped" and len(client.queues.get_by_id(queue=queue.id).entries) == 0
clone.reset()
assert clone.get_status() == "created"
clone.mark_started()
clone.mark_failed(status_reason="it broke")
clone.reload()
assert clone.get_status() == "failed" and clone.data.status_reason == "it broke"
clone.set_archived(True)
clone.reload()
assert "archived" in clone.get_system_tags() and clone.get_archived()
clone.set_archived(False)
assert not clone.get_archived()
clone.rename("renamed")
clone.set_tags(["x"])
clone.move_to_project(new_project_name="elsewhere")

other = Task.create(project_name="manage", task_name="other", task_type="testing")
names = lambda found: sorted(t.name for t in found)
assert names(Task.get_tasks(project_name="manage")) == ["made", "other"]
assert names(Task.get_tasks(project_name="manage", task_name="^oth")) == ["other"]
assert names(Task.get_tasks(tags=["x"])) == ["renamed"]
assert names(Task.get_tasks(task_filter={"type": ["testing"]})) == ["other"]
assert names(Task.get_tasks(task_filter={"status": ["queued"]})) == ["made"]
assert names(Task.get_tasks(task_filter={"order_by": ["-last_update"], "page": 0, "page_size": 1})) == ["other"]
assert Task.query_tasks(project_name="manage", task_filter={"type": ["testing"]}) == [other.id]
found = Task.query_tasks(project_name="manage", additional_return_fields=["status", "script.entry_point"])
assert sorted(str(f["status"]) for f in found) == ["created", "queued"], found
assert "train.py" in [f["script.entry_point"] for f in found], found
assert Task.get_task(project_name="manage", task_name="other").id == other.id
assert sorted(Task.get_projects(), key=lambda p: p.name)[0].name == "elsewhere"
assert Task.get_project_id("manage") == other.project
assert Task.get_by_name("other").id == other.id

assert other.delete()
assert Task.query_tasks(project_name="manage", task_filter={"type": ["testing"]}) == []
