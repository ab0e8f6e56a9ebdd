"""The first half of the client: how an installation is told, and what a task in a
conda environment starts with."""

import fcntl
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

BASE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OWN = {"HOME", "LANG", "TMPDIR", "SHLVL", "PWD", "OLDPWD", "_", "PATH"}  # the task's, or the shell's

SCRIPT = """\
for script in "$@"; do . "$script" >&2; done
exec /usr/bin/env -0
"""


def stated(prefix, more):
    """Variables that are just written down, as conda reads them."""
    files = sorted((prefix / "etc/conda/env_vars.d").glob("*.json"))
    found = [json.loads(f.read_text()) for f in files]
    state = prefix / "conda-meta/state"
    if state.exists():
        found.append(json.loads(state.read_text()).get("env_vars", {}))
    found.append(dict(v.split("=", 1) for v in more))
    return {str(k): str(v) for variables in found for k, v in variables.items() if v != "***unset***"}


def activation(prefix, more):
    """The variables after `conda activate`, more of them given, as KEY=VALUE. PATH has only the folders
    that scripts put in front, without the environment's own."""
    before = {"PATH": BASE, "LANG": "C.UTF-8", "HOME": os.environ["HOME"], "TMPDIR": os.environ.get("TMPDIR", tempfile.gettempdir())}
    own = str(prefix / "bin")
    env = {
        **before, "PATH": own + ":" + BASE, "CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": str(prefix), "CONDA_SHLVL": "1",
        **stated(prefix, more),
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


def busy(lock):
    """rattler lets one installation at a time at a cache, without a word."""
    try:
        with open(lock) as f:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


class Meter:
    """Hears of downloads, and tells of their bytes now and then."""

    def __init__(self, event):
        self.event, self.scripts, self.failed = event, [], []
        self.bytes, self.loading, self.heard, self.told = {}, set(), time.monotonic(), time.monotonic()

    def __getattr__(self, name):
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *args: args[0] if args else 0

    def on_download_start(self, entry):
        self.loading.add(entry)
        self.heard = time.monotonic()
        return entry

    def on_download_progress(self, entry, progress, total):
        self.bytes[entry], self.heard = (progress, total or progress), time.monotonic()
        if self.heard - self.told > 0.5:
            self.told = self.heard
            self.tell()

    def on_download_completed(self, entry):
        self.loading.discard(entry)
        self.tell()

    def on_link_start(self, entry, name):
        if not self.loading:
            self.event(step="install", note=name)
        return entry

    def on_post_link_start(self, name, path):
        self.event(script=name)
        self.scripts.append(name)
        return len(self.scripts) - 1

    def on_post_link_complete(self, script, success):
        if not success:
            self.failed.append(self.scripts[script])

    def tell(self):
        done, total = map(sum, zip(*self.bytes.values() or [(0, 0)]))
        self.event(step="download", done=done, total=total)


def complete(path):
    """Gives a package's record what its list could not say, and takes the agent's folders out."""
    record = json.loads(path.read_text())
    source = record.pop("extracted_package_dir", None) or record.get("link", {}).get("source")
    index = json.loads(pathlib.Path(source, "info", "index.json").read_text()) if source else {}
    record.update({k: v for k, v in index.items() if v is not None})
    record.pop("link", None)
    path.write_text(json.dumps(record, indent=2))
