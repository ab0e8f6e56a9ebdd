"""Tasks made of repositories, not of what runs."""
import os
import subprocess
from clearml import Task
from checks import check, close, same


def git(*args):
    return subprocess.check_output(("git", "-c", "user.name=Test", "-c", "user.email=test@example.com") + args, text=True).strip()


here = os.getcwd()
git("init", "--quiet", "--bare", "--initial-branch=main", "far.git")
git("init", "--quiet", "--initial-branch=main", "near")
os.chdir("near")
git("remote", "add", "origin", os.path.join(here, "far.git"))
os.makedirs("src")
for name, text in {"src/train.py": "print('one')\n", "requirements.txt": "six==1.17.0\n", "job.sh": "echo job\n"}.items():
    with open(name, "w") as f:
        f.write(text)
git("add", "-A")
git("commit", "--quiet", "-m", "files")
git("push", "--quiet", "origin", "HEAD:main")
commit = git("rev-parse", "HEAD")
far = os.path.join(here, "far.git")
address = "file://" + far  # the SDK takes a path for a working copy


@check
def by_address():
    os.chdir(here)
    made = Task.create(project_name="repositories", task_name="by address", repo=address, commit=commit, working_directory="src", script="train.py", packages=["six"], argparse_args=[("lr", 0.1)], add_task_init_call=False)
    script = made.data.script
    same((script.repository, script.version_num, script.working_dir, script.entry_point, script.diff or ""), (address, commit, "src", "train.py", ""))
    same(made.get_parameters(), {"Args/lr": "0.1"})


@check
def by_a_working_copy():
    os.chdir(os.path.join(here, "near"))
    with open("src/train.py", "w") as f:
        f.write("print('two')\n")
    made = Task.create(project_name="repositories", task_name="by copy", script="src/train.py", requirements_file="requirements.txt", add_task_init_call=True)
    script = made.data.script
    same((script.repository, script.version_num, script.entry_point.split("/")[-1]), (far, commit, "train.py"))
    assert "+print('two')" in script.diff and "Task.init" in script.diff, script.diff
    assert "six==1.17.0" in script.requirements["pip"], script.requirements


@check
def of_another_language():
    os.chdir(here)
    made = Task.create(project_name="repositories", task_name="shell", repo=address, branch="main", script="job.sh", binary="/bin/bash", packages=False, add_task_init_call=False)
    same((made.data.script.binary, made.data.script.entry_point), ("/bin/bash", "job.sh"))


@check
def by_module_and_by_template():
    made = Task.create(project_name="repositories", task_name="module", repo=address, branch="main", module="src.train", add_task_init_call=False, packages=["six"])
    assert made.data.script.entry_point.startswith("-m src.train"), made.data.script.entry_point
    copy = Task.create(project_name="repositories", task_name="of a template", base_task_id=made.id)
    same(copy.data.script.repository, address)  # the SDK writes the entry point anew


close()
