"""What a task in a conda environment starts with: the second half of the client."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

BASE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OWN = {"HOME", "LANG", "TMPDIR", "SHLVL", "PWD", "OLDPWD", "_", "PATH"}  # the task's, or the shell's

SCRIPT = """\
for script in "$@"; do . "$script" >&2; done
exec /usr/bin/env -0
"""


def stated(prefix):
    """Variables that are just written down, as conda reads them."""
    files = sorted((prefix / "etc/conda/env_vars.d").glob("*.json"))
    found = [json.loads(f.read_text()) for f in files]
    state = prefix / "conda-meta/state"
    if state.exists():
        found.append(json.loads(state.read_text()).get("env_vars", {}))
    return {str(k): str(v) for variables in found for k, v in variables.items() if v != "***unset***"}


def activation(prefix):
    """The variables after `conda activate`, as KEY=VALUE. PATH has only the folders
    that scripts put in front, without the environment's own."""
    before = {"PATH": BASE, "LANG": "C.UTF-8", "HOME": os.environ["HOME"], "TMPDIR": os.environ.get("TMPDIR", tempfile.gettempdir())}
    own = str(prefix / "bin")
    env = {
        **before, "PATH": own + ":" + BASE, "CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": str(prefix), "CONDA_SHLVL": "1",
        **stated(prefix),
    }
    scripts = sorted((prefix / "etc/conda/activate.d").glob("*.sh"))
    if scripts:
        shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
        run = subprocess.run(
            [shell, "-c", SCRIPT, "activate", *map(str, scripts)], env=env, cwd=prefix, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
        )
        if run.returncode:
            raise ValueError("the activation scripts failed:\n" + run.stderr.decode(errors="replace")[-2000:])
        pairs = (item.partition("=") for item in run.stdout.decode(errors="replace").split("\0") if item)
        env = {name: value for name, _, value in pairs}
    front = env.get("PATH", "").removesuffix(BASE).split(":")
    front = [d for d in front if d and d != own]
    changed = {k: v for k, v in env.items() if k not in OWN and re.fullmatch(r"[A-Za-z_]\w*", k) and before.get(k) != v}
    if front:
        changed["PATH"] = ":".join(front)
    return ["%s=%s" % item for item in sorted(changed.items())]
