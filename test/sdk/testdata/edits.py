"""What an author changes of a task, and how it is found again."""
import os
from clearml import Task
from clearml.backend_api.session.client import APIClient
from checks import check, close, same

client = APIClient()
with open("train.py", "w") as f:
    f.write("print('train')\n")
task = Task.create(project_name="edits/below", task_name="edited", script="train.py", packages=["six==1.17.0"], docker="python:3.12", docker_args="--ipc=host", docker_bash_setup_script="echo setup", add_task_init_call=False)
fresh = lambda: Task.get_task(task_id=task.id)


@check
def parameters():
    task.set_parameters({"General/a": 1, "General/b": "two", "Args/c": [1, 2], "General/d.e/f": None})
    task.set_parameters_as_dict({"General": {"a": 1, "nested": {"deep": True}}})
    same(fresh().get_parameters_as_dict()["General"], {"a": "1", "b": "two", "d.e": {"f": ""}, "nested": {"deep": "True"}})
    task.update_parameters({"General/new": 2.5})
    assert task.delete_parameter("General/a", force=True)
    same(fresh().get_parameters(), {"General/b": "two", "General/d.e/f": "", "General/nested/deep": "True", "General/new": "2.5", "Args/c": "[1, 2]"})
    same(fresh().get_parameters(cast=True), {"General/b": "two", "General/d.e/f": None, "General/nested/deep": True, "General/new": 2.5, "Args/c": [1, 2]})


@check
def properties():
    task.set_user_properties({"name": "owner", "value": "me", "description": "who", "type": "str"}, number=5)
    same(sorted(fresh().get_user_properties(value_only=True).items()), [("number", "5"), ("owner", "me")])
    task.delete_user_properties([{"section": "properties", "name": "number"}])
    same(fresh().get_user_properties()["owner"]["description"], "who")
    same(list(fresh().get_user_properties()), ["owner"])


@check
def configurations():
    task.set_configuration_object("model", config_text="depth = 1\nwidth { a = 2 }\n", description="words")
    task.set_configuration_object("other", config_dict={"x": [1, {"y": None}]})
    same(sorted(fresh().get_configuration_objects()), ["model", "other"])
    same(fresh().get_configuration_object("model"), "depth = 1\nwidth { a = 2 }\n")
    same(fresh().get_configuration_object_as_dict("other"), {"x": [1, {"y": None}]})
    task.set_model_label_enumeration({"cat": 1, "dog": 2})
    same(fresh().get_labels_enumeration(), {"cat": 1, "dog": 2})


@check
def script():
    task.set_script(repository="https://example.com/r.git", branch="main", commit="0" * 40, working_dir="src", entry_point="main.py", diff="", binary="python3.11")
    got = fresh().get_script()
    same((got["repository"], got["branch"], got["working_dir"], got["entry_point"]), ("https://example.com/r.git", "main", "src", "main.py"))
    same((fresh().data.script.version_num, fresh().data.script.binary), ("0" * 40, "python3.11"))
    task.set_repo(repo="https://example.com/s.git", branch="dev")
    same(fresh().data.script.repository, "https://example.com/s.git")
    task.set_packages(["six==1.17.0", "attrs"])
    same(fresh().get_requirements()["pip"].split(), ["six==1.17.0", "attrs"])


@check
def container():
    same(fresh().get_base_docker(), "python:3.12 --ipc=host")
    task.set_base_docker(docker_image="python:3.11", docker_arguments=["-e", "A=b"], docker_setup_bash_script=["echo 1", "echo 2"])
    same(fresh().data.container, {"image": "python:3.11", "arguments": "-e A=b", "setup_shell_script": "echo 1\necho 2"})


@check
def names_and_tags():
    task.set_name("renamed")
    task.rename("renamed again")
    task.set_tags(["a", "b"])
    task.add_tags("c")
    task.remove_tags(["a"])
    task.set_task_type("testing")
    task.set_comment("words\nand more")
    task.set_random_seed(7)
    parent = Task.create(project_name="edits", task_name="parent")
    task.set_parent(parent)
    got = fresh()
    same((got.name, sorted(got.get_tags()), str(got.task_type), got.comment, got.parent), ("renamed again", ["b", "c"], "testing", "words\nand more", parent.id))
    task.set_system_tags(["special"])
    same(fresh().get_system_tags(), ["special"])


@check
def projects():
    task.move_to_project(new_project_name="elsewhere/deep")
    same(fresh().get_project_name(), "elsewhere/deep")
    names = {p.name for p in Task.get_projects()}
    assert {"elsewhere", "elsewhere/deep", "edits", "edits/below"} <= names, names
    same(fresh().get_project_object().name, "elsewhere/deep")
    same([p.name for p in client.projects.get_all(name="^edits", order_by=["name"])], ["edits", "edits/below"])


@check
def copies():
    data = task.export_task()
    copy = Task.import_task(dict(data, name="imported"))
    same((copy.name, copy.data.script.repository, copy.get_parameters()), ("imported", fresh().data.script.repository, fresh().get_parameters()))
    copy.update_task({"comment": "by update"})
    same(Task.get_task(task_id=copy.id).comment, "by update")
    clone = Task.clone(task, name="clone", comment="c", parent=copy.id, project=copy.project)
    same((clone.parent, clone.project, clone.get_configuration_object("model"), clone.get_status()), (copy.id, copy.project, task.get_configuration_object("model"), "created"))


@check
def queues():
    same(Task.get_num_enqueued_tasks(queue_name="default"), 0)
    queued = Task.clone(task, name="queued")
    client.queues.create(name="urgent")
    Task.enqueue(queued, queue_name="urgent")
    same(Task.get_num_enqueued_tasks(queue_name="urgent"), 1)
    queued.reload()
    same(queued.get_executed_queue(return_name=True), "urgent")
    Task.enqueue(queued, queue_name="default", force=True)
    same((Task.get_num_enqueued_tasks(queue_name="urgent"), Task.get_num_enqueued_tasks(queue_name="default")), (0, 1))
    Task.dequeue(queued)
    same((queued.get_status(), Task.get_num_enqueued_tasks(queue_name="default")), ("created", 0))


@check
def life():
    live = Task.clone(task, name="live")
    live.started()
    live.wait_for_status(status=("in_progress",), check_interval_sec=0.05)
    live.mark_stop_request()
    live.reload()
    assert live.get_status() in ("stopped", "in_progress"), live.get_status()
    live.stopped(status_reason="enough", status_message="words")
    live.reload()
    same((live.get_status(), live.data.status_reason, live.data.status_message), ("stopped", "enough", "words"))
    live.reset(set_started_on_success=True)
    same(live.get_status(), "in_progress")
    live.mark_failed(status_reason="broken", force=True)
    same(live.get_status(), "failed")
    live.started(force=True)
    live.mark_completed(status_message="well")
    same(live.get_status(), "completed")
    live.publish()
    same(live.get_status(), "published")
    live.set_archived(True)
    assert live.get_archived()
    same(Task.query_tasks(task_name="^live$", task_filter={"system_tags": ["-archived"]}), [])


@check
def finding():
    for i in range(12):
        t = Task.create(project_name="found", task_name="n%02d" % i, task_type="testing" if i % 2 else "training")
        t.add_tags(["even"] if i % 2 == 0 else ["odd"])
        if i == 3:
            t.set_archived(True)
    names = lambda tasks: sorted(t.name for t in tasks)
    in_found = lambda **f: names(Task.get_tasks(project_name="found", **f))
    same(len(in_found()), 12)
    same(in_found(allow_archived=False), ["n%02d" % i for i in range(12) if i != 3])
    same(in_found(tags=["even"]), ["n%02d" % i for i in range(0, 12, 2)])
    same(in_found(tags=["-even"], allow_archived=False), ["n01", "n05", "n07", "n09", "n11"])
    same(in_found(tags=["even", "odd"]), ["n%02d" % i for i in range(12)])
    same(in_found(tags=["__$all", "even", "odd"]), [])
    same(in_found(task_name="n0[12]"), ["n01", "n02"])
    same(in_found(task_filter={"type": ["testing"], "system_tags": ["-archived"]}), ["n01", "n05", "n07", "n09", "n11"])
    same([t.name for t in Task.get_tasks(project_name="found", task_filter={"order_by": ["-name"]})][:3], ["n11", "n10", "n09"])
    same(in_found(task_filter={"search_text": "n1", "_any_": {"pattern": "n1", "fields": ["name"]}}), ["n10", "n11"])
    same(in_found(task_filter={"status_changed": [">=2100-01-01"]}), [])
    rows = Task.query_tasks(project_name="found", additional_return_fields=["name", "type", "user"], task_filter={"status": ["created"], "order_by": ["name"]})
    same([r["name"] for r in rows], ["n%02d" % i for i in range(12)])
    same(Task.get_task(project_name="found", task_name="n01").name, "n01")
    same(names(Task.get_tasks(task_ids=[r["id"] for r in rows[:2]])), ["n00", "n01"])


@check
def many_at_once():
    ids = Task.query_tasks(project_name="found")
    queue = client.queues.get_or_create(name="bulk").id if hasattr(client.queues, "get_or_create") else client.queues.create(name="bulk").id
    client.tasks.enqueue_many(ids=ids, queue=queue)
    same(client.queues.get_num_entries(queue=queue).num, len(ids))
    client.tasks.dequeue_many(ids=ids)
    client.tasks.archive_many(ids=ids)
    client.tasks.delete_many(ids=ids)
    same(Task.query_tasks(project_name="found"), [])


@check
def deleting_with_files():
    gone = Task.create(project_name="edits", task_name="with files")
    gone.upload_artifact("text", "words", wait_on_upload=True)
    url = gone.artifacts["text"].url
    from clearml import StorageManager
    assert StorageManager.exists_file(url)
    assert gone.delete(raise_on_error=True)
    assert not StorageManager.exists_file(url)


@check
def offline():
    Task.set_offline(True)
    try:
        away = Task.init(project_name="offline", task_name="away", auto_resource_monitoring=False)
        away.connect({"a": 1})
        away.get_logger().report_scalar("m", "v", value=2, iteration=1)
        away.upload_artifact("kept", {"k": 1})
        folder = away.get_offline_mode_folder()
        away.close()
    finally:
        Task.set_offline(False)
    back = Task.get_task(task_id=Task.import_offline_session(str(folder) + ".zip"))
    same((back.get_status(), back.get_parameters()["General/a"], back.artifacts["kept"].get()), ("completed", "1", {"k": 1}))
    same(back.get_reported_scalars()["m"]["v"], {"name": "v", "x": [1], "y": [2]})


close()
