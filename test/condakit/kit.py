"""Builds two small conda channels, main and extra, out of the interpreter that
runs it and a few wheels: kit.py OUT. It needs that interpreter's pip and a
package index, nothing of conda. What is in the channels, condakit.go says."""

import hashlib
import importlib.util
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile

OUT = pathlib.Path(sys.argv[1]).resolve()
XY = "%d.%d" % sys.version_info[:2]
VERSION = "%d.%d.%d" % sys.version_info[:3]
NEXT = "%d.%d" % (sys.version_info[0], sys.version_info[1] + 1)
ARCH, SUBDIR = {"x86_64": ("x86_64", "linux-64"), "aarch64": ("aarch64", "linux-aarch64")}[os.uname().machine]
# As long as conda-build's: a client must shorten it in binary files.
PLACEHOLDER = "/opt/kit" + "_placehold" * 24
WHEN = 1700000000  # of every file that is written here, so that a channel is built reproducibly


def zstd(data):
    """A zstd frame of raw blocks: nothing is compressed, so no library is needed
    and no time is lost."""
    frame = io.BytesIO()
    frame.write(b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little"))
    blocks = [data[i : i + (1 << 17)] for i in range(0, len(data), 1 << 17)] or [b""]
    for n, block in enumerate(blocks):
        frame.write((len(block) << 3 | (n == len(blocks) - 1)).to_bytes(3, "little"))
        frame.write(block)
    return frame.getvalue()


def tarball(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, f in files.items():
            member = tarfile.TarInfo(path)
            member.mtime = f.mtime
            if f.link:
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, f.link, 0o777
                tar.addfile(member)
            else:
                member.size, member.mode = len(f.data), f.mode
                tar.addfile(member, io.BytesIO(f.data))
    return zstd(out.getvalue())


class File:
    def __init__(self, data=b"", mode=0o644, mtime=WHEN, link=None, placeholder=None):
        self.data = data.encode() if isinstance(data, str) else data
        self.mode, self.mtime, self.link, self.placeholder = mode, mtime, link, placeholder

    def entry(self, path):
        entry = {
            "_path": path,
            "path_type": "softlink" if self.link else "hardlink",
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "size_in_bytes": len(self.data),
        }
        if self.placeholder:
            entry.update(prefix_placeholder=PLACEHOLDER, file_mode=self.placeholder)
        return entry


class Channel:
    def __init__(self, name):
        self.dir, self.records = OUT / name, {SUBDIR: {}, "noarch": {}}

    def add(self, name, version, files, depends=(), noarch=None, build="kit_0", entry_points=()):
        subdir = "noarch" if noarch else SUBDIR
        index = {
            "name": name, "version": version, "build": build, "build_number": 0, "subdir": subdir,
            "depends": list(depends), "timestamp": WHEN * 1000,
            "arch": None if noarch else ARCH, "platform": None if noarch else "linux",
        }
        if noarch:
            index["noarch"] = noarch
        info = {
            "info/index.json": index,
            "info/paths.json": {"paths": [f.entry(p) for p, f in files.items()], "paths_version": 1},
            "info/about.json": {},
        }
        if noarch == "python":
            link = {"type": "python", "entry_points": list(entry_points)}
            info["info/link.json"] = {"package_metadata_version": 1, "noarch": link}
        info = {p: File(json.dumps(v)) for p, v in info.items()}
        info["info/files"] = File("".join(p + "\n" for p in files))
        stem = "%s-%s-%s" % (name, version, build)
        path = self.dir / subdir / (stem + ".conda")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
            z.writestr("info-%s.tar.zst" % stem, tarball(info))
            z.writestr("pkg-%s.tar.zst" % stem, tarball(files))
        data = path.read_bytes()
        index = {k: v for k, v in index.items() if v is not None}
        index.update(
            sha256=hashlib.sha256(data).hexdigest(), md5=hashlib.md5(data).hexdigest(), size=len(data)
        )
        self.records[subdir][path.name] = index

    def index(self):
        for subdir, records in self.records.items():
            repodata = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": records, "repodata_version": 1}
            path = self.dir / subdir / "repodata.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(repodata, indent=1))


LEFT_OUT = {
    "test", "tests", "idlelib", "turtledemo", "turtle.py", "EXTERNALLY-MANAGED", "lib2to3", "ensurepip", "tkinter", "pydoc_data",
    "site-packages", "dist-packages", "sqlite3", "curses", "dbm", "wsgiref", "sitecustomize.py", "distutils", "unittest", "__phello__",
    "zoneinfo",
}
# Of the encodings, those that Python and its programs need by themselves.
ENCODINGS = re.compile(r"(__init__|aliases|ascii|charmap|cp437|cp1252|hex_codec|idna|latin_1|punycode|(raw_)?unicode_escape|utf_.*)\.")


def standard_library(top):
    """The standard library without what no test needs. Its bytecode comes along,
    as in real channels."""
    lib = top / "lib" / ("python" + XY)

    def skip(folder, names):
        few = "encodings" in folder
        return [
            n for n in names
            if n in LEFT_OUT or few and n != "__pycache__" and not ENCODINGS.match(n) or n.startswith(("config-", "_test", "_ctypes_test", "_codecs_", "_xx"))
            or n.endswith((".a", ".opt-1.pyc", ".opt-2.pyc"))
        ]

    shutil.copytree(sysconfig.get_path("stdlib"), lib, symlinks=False, ignore=skip)
    (lib / "site-packages").mkdir()
    (lib / "site-packages" / "README.txt").write_text("This folder is for packages.\n")
    # Debian's Python looks for packages elsewhere.
    for name, old, new in [
        ("site.py", '"dist-packages")', '"site-packages")'),
        ("sysconfig.py", "prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'"),
        ("sysconfig/__init__.py", "prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'"),
    ]:
        if (lib / name).exists() and old in (text := (lib / name).read_text()):
            (lib / name).write_text(text.replace(old, new))
    return lib


def program(top):
    """The interpreter, which must find its library beside itself wherever it goes."""
    source = pathlib.Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    data = source.read_bytes()
    shared = (sysconfig.get_config_var("INSTSONAME") or "").encode()
    libdir = sysconfig.get_config_var("LIBDIR")
    if shared.startswith(b"libpython") and shared.endswith(b".so.1.0") and shared + b"\0" in data:
        old, new = libdir.encode() + b"\0", b"$ORIGIN/../lib\0"
        if old not in data or len(old) < len(new):
            sys.exit("%s finds its library in a way that can't be changed" % source)
        data = data.replace(old, new.ljust(len(old), b"\0"))
        shutil.copy2(pathlib.Path(libdir) / shared.decode(), top / "lib" / shared.decode())
    path = top / "bin" / ("python" + XY)
    path.parent.mkdir()
    path.write_bytes(data)
    path.chmod(0o755)
    if shutil.which("strip"):  # only the size
        subprocess.call(["strip", "-S", path, *(top / "lib").glob("libpython*.so.1.0"), *top.glob("lib/*/lib-dynload/*.so")])
    return path


def python(channel):
    with tempfile.TemporaryDirectory(dir=OUT) as tmp:
        top = pathlib.Path(tmp)
        lib = standard_library(top)
        moved = program(top)
        base = sys.base_prefix
        data = {}
        for path in lib.glob("_sysconfigdata*.py"):
            path.write_text(path.read_text().replace("'%s/" % base, "'%s/" % PLACEHOLDER))
            data[path] = "text"
        subprocess.call([moved, "-I", "-m", "compileall", "-q", "-j", "0", lib], stdout=subprocess.DEVNULL)
        check = "import ctypes,hashlib,site,ssl,sysconfig,zlib;print(sysconfig.get_path('purelib'),*site.getsitepackages())"
        out = subprocess.run([moved, "-I", "-c", check], stdout=subprocess.PIPE, text=True, check=True, env={}).stdout
        if str(lib / "site-packages") not in out.split() or out.split()[0] != str(lib / "site-packages"):
            sys.exit("the Python that was moved keeps packages in %s" % out)
        files = {}
        for path in sorted(top.rglob("*")):
            if path.is_file():
                stat = path.stat()
                files[path.relative_to(top).as_posix()] = File(
                    path.read_bytes(), stat.st_mode & 0o755, int(stat.st_mtime), placeholder=data.get(path)
                )
        for name in ("python", "python3"):
            files["bin/" + name] = File(link="python" + XY)
        files["lib/python3.1"] = File(link="python" + XY)  # as in conda-forge's
        channel.add("python", VERSION, files, ["__glibc >=2.17"], build="kit_0_cpython")


def from_wheel(channel, path, depends=()):
    """Repacks a wheel; one of pure Python becomes a noarch package."""
    name, version = path.name.split("-")[:2]
    name = re.sub(r"[-_.]+", "-", name).lower()
    pure = path.name.endswith("none-any.whl")
    site = "site-packages/" if pure else "lib/python%s/site-packages/" % XY
    files = {}
    with zipfile.ZipFile(path) as z:
        for item in z.infolist():
            if not item.is_dir():
                files[site + item.filename] = File(z.read(item), item.external_attr >> 16 & 0o755 or 0o644)
    for p in [p for p in files if p.endswith(".dist-info/WHEEL")]:
        files[p.removesuffix("WHEEL") + "INSTALLER"] = File("conda")
    if pure:
        channel.add(name, version, files, ["python >=3.8", *depends], noarch="python")
    else:
        channel.add(name, version, files, ["python >=%s,<%s.0a0" % (XY, NEXT), *depends], build="py%skit_0" % XY.replace(".", ""))


def module(channel, name, version, depends=(), entry_points=(), more=""):
    """A noarch package of one module."""
    info = "site-packages/%s-%s.dist-info/" % (name, version)
    files = {
        "site-packages/%s.py" % name: File("__version__ = %r\n%s" % (version, more)),
        info + "METADATA": File("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)),
        info + "INSTALLER": File("conda"),
    }
    channel.add(name, version, files, ["python >=3.8", *depends], noarch="python", entry_points=entry_points)


def pip():
    """The command of whatever pip this interpreter has: a package, or the wheel
    that ensurepip keeps, which runs as it is."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    import ensurepip

    folders = [pathlib.Path(ensurepip.__path__[0], "_bundled"), pathlib.Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or "/")]
    found = [p for folder in folders for p in folder.glob("pip-*.whl")]
    if not found:
        sys.exit("%s has no pip" % sys.executable)
    return [sys.executable, str(found[0] / "pip")]


def wheels(folder):
    call = pip() + ["download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "-d", folder]
    # Two versions of one project take two runs.
    runs = [subprocess.Popen(call + names) for names in (["six==1.16.0"], ["six==1.17.0", "pyyaml==6.0.2"])]
    if any([run.wait() for run in runs]):
        sys.exit("the wheels can't be had")
    return sorted(pathlib.Path(folder).glob("*.whl"))


ACTIVATE = """\
export KIT_HOME="$CONDA_PREFIX/share/kit"
export KIT_LINES="one
two = 'three'"
unset KIT_UNWANTED
export PATH="$CONDA_PREFIX/kit-bin:$PATH"
KIT_LOCAL=not-exported
"""

POST_LINK = """\
#!/bin/sh
echo "$PKG_NAME $PKG_VERSION" > "$PREFIX/share/post-link.txt"
"""


def odd_ones(main):
    """Packages for one behaviour each."""
    generic = {"noarch": "generic"}
    main.add("needs-cuda", "1.0", {"share/needs-cuda": File("x")}, ["__cuda >=12"])
    main.add("clashes", "1.0", {"share/clashes": File("x")}, ["six <1.17"], **generic)
    main.add("activates", "1.0", {
        "etc/conda/activate.d/activates.sh": File(ACTIVATE),
        "etc/conda/deactivate.d/activates.sh": File("unset KIT_HOME\n"),
        "etc/conda/env_vars.d/activates.json": File('{"KIT_FROM_JSON": "$not expanded"}'),
        "kit-bin/kit-tool": File("#!/bin/sh\necho kit-tool\n", 0o755),
    }, **generic)
    main.add("prefixed", "1.0", {
        "bin/prefixed": File("#!%s/bin/python\nprint('%s')\n" % (PLACEHOLDER, PLACEHOLDER), 0o755, placeholder="text"),
        "lib/prefixed.bin": File(b"\x7fKIT\0" + PLACEHOLDER.encode() + b"/share\0after", placeholder="binary"),
    }, ["python"])
    main.add("post-linked", "1.0", {
        "share/post-linked": File("x"), "bin/.post-linked-post-link.sh": File(POST_LINK, 0o755),
    })
    main.add("mislinked", "1.0", {"bin/.mislinked-post-link.sh": File("#!/bin/sh\nexit 3\n", 0o755)})
    # Environments name pip; what installs is the agent's own.
    module(main, "pip", "24.0")
    module(main, "hello", "1.0", ["six"], ["hello = hello:main"], "def main():\n    print('hello', __version__)\n")


def main():
    main, extra = Channel("main"), Channel("extra")
    python(main)
    odd_ones(main)
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        for wheel in wheels(folder):
            from_wheel(main, wheel)
    # A higher version in the channel that is asked second must not win.
    module(extra, "six", "1.99.0")
    module(extra, "only_extra", "1.0", ["six"])
    main.index()
    extra.index()


main()
