"""Runs poetry with what an environment of agentctl needs and poetry has no setting for.

The first argument is a JSON file; the others are poetry's own.
"""

import contextlib
import copy
import hashlib
import json
import os
import sys
import threading

from importlib.metadata import MetadataPathFinder
from pathlib import Path

import build

from poetry.config.config import Config
from poetry.console.application import main
from poetry.core.packages.package import Package
from poetry.core.packages.utils.link import Link
from poetry.installation import executor
from poetry.installation.chooser import Chooser
from poetry.repositories import pypi_repository
from poetry.repositories.exceptions import PackageNotFoundError
from poetry.repositories.legacy_repository import LegacyRepository

with open(sys.argv.pop(1), encoding="utf-8") as f:
    settings = json.load(f)


class Index(LegacyRepository):
    """What poetry calls PyPI, at the places where pip looks, each by its simple API.

    A source in pyproject.toml would change the content hash that is in the lock.
    """

    def __init__(self, urls, **more):
        # The name is also that of a cache, which no two indexes may share.
        digest = hashlib.sha256(urls[0].encode()).hexdigest()
        super().__init__("PyPI-" + digest[:16], urls[0], **more)
        self._name = "PyPI"
        self._next = Index(urls[1:], **more) if urls[1:] else None

    def _package(self, name, version, yanked):
        return Package(name, version, yanked=yanked)

    def package(self, name, version, **more):  # to poetry 2.0 extras are given, too
        try:  # without the source that a LegacyRepository would write to the lock
            return super(LegacyRepository, self).package(name, version, **more)
        except PackageNotFoundError:
            if self._next is None:
                raise
            return self._next.package(name, version, **more)

    def find_packages(self, dependency):
        found = super().find_packages(dependency)
        if self._next is not None:
            known = {p.version for p in found}
            found += [p for p in self._next.find_packages(dependency) if p.version not in known]
        return found

    def find_links_for_package(self, package):
        links = super().find_links_for_package(package)
        return links + self._next.find_links_for_package(package) if self._next is not None else links


class Locked:
    """Serves the files of a package that its lock names, whatever the indexes say."""

    def find_links_for_package(self, package):
        return [Link("https://lock.invalid/" + f["file"] + "#" + f["hash"].replace(":", "=", 1)) for f in package.files]


def from_lock(chooser, package):
    """The file of the lock that poetry would choose for this environment."""
    chooser = copy.copy(chooser)
    chooser._get_repository = lambda package: Locked()
    return choose_for(chooser, package)


def recall(chooser, package):
    """The file that says where an archive, known by its hash, was got from."""
    try:
        return Path(settings["links"], from_lock(chooser, package).hashes["sha256"])
    except Exception:  # no such hash in the lock, or another poetry than this was written for
        return None


def reuse(pool, record):
    """The link to an archive that was downloaded before, or None."""
    try:
        link = Link(**json.loads(record.read_text(encoding="utf-8")))
    except (AttributeError, OSError, ValueError, TypeError):
        return None
    return link if pool.artifact_cache.get_cached_archive_for_link(link, strict=True) else None


def choose(self, package):
    """Takes what was downloaded before without asking an index: the lock's hash is
    checked anyway, and the index may be out of reach."""
    record = recall(self, package)
    link = reuse(self._pool, record)
    if link is None:
        link = choose_for(self, package)
        if record and link.hashes.get("sha256") == record.name and "@" not in link.netloc:
            with contextlib.suppress(OSError):
                record.parent.mkdir(parents=True, exist_ok=True)
                save(record, {"url": link.url_without_fragment, "hashes": dict(link.hashes)})
    return link


def save(path, data):
    part = path.with_suffix("." + str(os.getpid()))
    part.write_text(json.dumps(data), encoding="utf-8")
    part.replace(path)


def describe(chooser, package):
    """One package in the form of pip's installation report."""
    info = {"url": package.source_url or ""}
    if package.source_type == "git":
        info["vcs_info"] = {"vcs": "git", "commit_id": package.source_resolved_reference}
        info["subdirectory"] = package.source_subdirectory or ""
    elif package.source_type in (None, "legacy", "url"):
        link = from_lock(chooser, package)
        info["archive_info"] = {"hashes": dict(link.hashes)}
        if package.source_type != "url":
            info["url"] = link.filename
    return {
        "is_direct": package.is_direct_origin(), "download_info": info,
        "metadata": {"name": package.name, "version": str(package.version)},
    }


def execute(self, operations):
    """Tells what is about to be installed before it is, and then where its files are.
    The first call is for the project; those after it are for the tools that build
    packages."""
    report, settings["report"] = settings["report"], ""
    if not report:
        return run(self, operations)
    chooser, packages = self._chooser, [op.package for op in operations if op.job_type == "install" and not op.skipped]
    try:
        described = [describe(chooser, p) for p in packages]
    except Exception as e:
        print("the packages can't be locked:", e, flush=True)
    else:
        save(Path(report), {"version": "1", "install": described})
    missing.update(p.name for p in packages if p.source_type in (None, "legacy") and not reuse(chooser._pool, recall(chooser, p)))
    if missing:
        print("Downloading", len(missing), "files", flush=True)
    status = run(self, operations)
    save(Path(settings["archives"]), archives)
    return status


class Downloader(executor.Downloader):
    """Says how much of all downloads is done, in the words of pip's raw progress."""

    lock, done, total = threading.Lock(), 0, 0

    def download_with_progress(self, chunk_size=1024):
        before = 0
        with Downloader.lock:
            Downloader.total += self.total_size or 0
        for size in super().download_with_progress(max(chunk_size, 1 << 18)):
            with Downloader.lock:
                Downloader.done += size - before
                print("Progress", Downloader.done, "of", Downloader.total, flush=True)
            before = size
            yield size


class Builder(build.ProjectBuilder):
    """Says that code of a package is going to run, to build it or to tell its metadata."""

    @classmethod
    def from_isolated_env(cls, env, source_dir, *args, **more):
        print("Building", Path(source_dir).name, flush=True)
        return super().from_isolated_env(env, source_dir, *args, **more)


archives, missing = {}, set()  # files by digest; packages that are to be downloaded


def check(archive, package):
    try:
        found = checked(archive, package)
    except RuntimeError:
        archive.unlink()  # or it would fail from the cache when the index is well again
        raise
    archives[found.removeprefix("sha256:")] = str(archive)
    with Downloader.lock:
        if missing and not missing.difference_update([package.name]) and not missing:
            print("Downloaded", flush=True)
    return found


def refer(self, operation):
    # importlib knows a folder by the time of its last change. A package that is installed
    # in the same tick as the one before it would not be found, and its origin not noted.
    MetadataPathFinder().invalidate_caches()  # of the class only from 3.12 on
    return noted(self, operation)


choose_for, Chooser.choose_for = Chooser.choose_for, choose
run, executor.Executor.execute = executor.Executor.execute, execute
checked, executor.Executor._validate_archive_hash = executor.Executor._validate_archive_hash, staticmethod(check)
noted, executor.Executor._save_url_reference = executor.Executor._save_url_reference, refer
executor.Downloader = Downloader
build.ProjectBuilder = Builder
if settings["indexes"]:
    pypi_repository.PyPiRepository = lambda **more: Index(settings["indexes"], **more)
# Sources of two projects may have one name, and must not have one cache.
Config.repository_cache_directory = property(lambda self: Path(self.get("cache-dir")) / "sources" / settings["sources"])
sys.exit(main())
