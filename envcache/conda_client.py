"""The conda client of envcache: solves, installs and activates by py-rattler.

It reads one request, as JSON, from its standard input. What it says on standard
output is for people, but for lines that begin with the request's mark: those are
events in JSON. Credentials come with the request and stay in memory.
"""

import asyncio
import collections
import ctypes
import datetime
import json
import os
import pathlib
import re
import sys
import time

from rattler import (
    Channel, ChannelPriority, Client, Config, Gateway, MatchSpec, PackageCache, PackageRecord,
    RepoDataRecord, SourceConfig, Subdir, ValidationMode, VirtualPackage, VirtualPackageOverrides, install, solve,
)
from rattler.exceptions import SolverError
from rattler.package import BuildString

STALL = 120  # seconds in which something of a download or an answer must come

# What an error's text tells; the first that fits counts.
KINDS = [
    ("disk", r"No space left|os error 28\b|[Qq]uota exceeded|os error 122\b"),
    ("refused", r"\b(401 Unauthorized|403 Forbidden)"),
    ("missing", r"could not find subdir|\b404 Not Found|failed to open file .*repodata"),
    ("unreachable", r"error sending request|tcp connect|dns error|timed out|connection (closed|reset)|stalled|certificate"),
    ("hash", r"[Cc]hecksum|[Hh]ash(es)? (mismatch|do(es)? not match)|failed to fetch .*\n.*\n.*an io error"),
]


def detect():
    return VirtualPackage.detect(VirtualPackageOverrides.from_env())


class Conda:
    def __init__(self, request):
        self.request, self.mark = request, request["mark"]
        self.config = Config.from_toml(self.settings())

    def event(self, **fields):
        print(self.mark + json.dumps(fields), flush=True)

    def settings(self):
        # rattler reads logins from a file only; this one is in memory.
        logins = os.memfd_create("logins")
        os.write(logins, json.dumps(self.request.get("auth") or {}).encode())
        proxies = self.request.get("proxies") or {}
        return "\n".join([
            "authentication-override-file = %s" % json.dumps("/proc/self/fd/%d" % logins),
            "tls-no-verify = %s" % json.dumps(bool(self.request.get("insecure"))),
            # By a link, what a task writes into its environment would get into the cache.
            "allow-hard-links = false",
            "[proxy-config]", *("%s = %s" % (k, json.dumps(v)) for k, v in proxies.items() if k in ("http", "https")),
        ])

    def client(self, timeout=None):
        return Client.from_config(self.config, max_retries=2, timeout=timeout)

    async def virtual(self):
        for package in detect():
            name, version, build = str(package.into_generic()).split("=", 2)
            if name == "__linux":  # each update of the kernel would be another platform
                version = ".".join(version.split(".")[:2])
            self.event(virtual="=".join((name, version, build)))

    # Solving

    async def solve(self):
        cached = SourceConfig(cache_action="force-cache-only" if self.request.get("offline") else "cache-or-fetch")
        self.event(step="resolve", note="asking %d channels" % len(self.request["channels"]))
        self.gateway = Gateway(
            cache_dir=pathlib.Path(self.request["cache"], "repodata"), client=self.client(2 * STALL), default_config=cached
        )
        self.channels = [Channel(c) for c in self.request["channels"]]
        self.platforms = [str(Subdir.current()), "noarch"]
        wishes = await self.available(self.request.get("wishes") or [])
        records = {r.name.normalized: r for r in await self.solved(wishes)}
        for record in PackageRecord.sort_topologically(list(records.values())):
            r = records[record.name.normalized]
            self.event(package=r.url, sha256=r.sha256.hex() if r.sha256 else "", md5=r.md5.hex() if r.md5 else "")
        self.event(step="resolve", note="%d packages" % len(records))

    async def available(self, wishes):
        """Those wishes that packages of the channels fulfil."""
        names, found, kept = sorted({n for w in wishes for n in w["names"]}), collections.defaultdict(list), []
        if names:
            for records in await self.gateway.query(self.channels, self.platforms, names, recursive=False):
                for r in records:
                    # graphviz or redis without Python are not what an index of Python packages means.
                    if any(re.match(r"(python|python_abi|cpython)(\s|$)", d) for d in r.depends):
                        found[r.name.normalized].append(r)
        for wish in wishes:
            for name in wish["names"]:
                spec = (name + " " + wish["version"]).strip()
                try:
                    match = MatchSpec(spec)
                except Exception:  # a specifier that conda has no words for
                    continue
                if any(match.matches(r) for r in found[name]):
                    kept.append({**wish, "spec": spec})
                    break
            else:
                self.leave(wish, "in the channels in another version" if any(found[n] for n in wish["names"]) else "not in the channels")
        return kept

    def leave(self, wish, why):
        self.event(pip=wish["line"])
        print("%s: %s; left to pip" % (wish["line"], why), flush=True)

    async def solved(self, wishes):
        try:
            return await self.attempt(wishes)
        except SolverError:
            if not wishes:
                raise
        # A wish that can't be had beside what must be is pip's. What wishes say
        # against each other stays an error.
        await self.attempt([])
        kept = []
        for wish in wishes:
            try:
                await self.attempt([wish])
                kept.append(wish)
            except SolverError:
                self.leave(wish, "in the channels, but not beside the rest")
        return await self.attempt(kept)

    async def attempt(self, wishes):
        specs = self.request["specs"] + [w["spec"] for w in wishes]
        priority = ChannelPriority.Disabled if self.request.get("anyChannel") else ChannelPriority.Strict
        return await solve(
            self.channels, [MatchSpec(s) for s in specs], gateway=self.gateway, virtual_packages=detect(),
            channel_priority=priority, timeout=datetime.timedelta(minutes=10),
        )

    async def versions(self):
        """Says which versions of Python there are: the usual contradiction."""
        found = await self.gateway.query(self.channels, self.platforms, ["python"], recursive=False)
        have = sorted({r.version for records in found for r in records})
        print("Python in the channels: %s" % (", ".join(str(v) for v in have[-12:]) or "none"), flush=True)

    # Installing

    def record(self, package, before):
        url = package["url"]
        channel, subdir, file = url.rsplit("/", 2)
        name, version, build = re.sub(r"\.(conda|tar\.bz2)$", "", file).rsplit("-", 2)
        digests = {k: bytes.fromhex(package[k]) for k in ("sha256", "md5") if package.get(k)}
        # Each depends on the one before, so that they are linked in the order of the list.
        record = PackageRecord(name, version, BuildString(build), 0, subdir, depends=[before] if before else [], **digests)
        return RepoDataRecord(record, file, url, channel)

    async def install(self):
        records, before = [], None
        for package in self.request["packages"]:
            records.append(self.record(package, before))
            before = records[-1].name.normalized
        # The cache knows packages by name, version and digest: without a digest it
        # might give another channel's.
        known = all(p.get("sha256") for p in self.request["packages"])
        cache = pathlib.Path(self.request["cache"] if known else self.request["scratch"], "packages")
        prefix, meter = pathlib.Path(self.request["prefix"]), Meter(self.event)
        if busy(cache / ".cache.lock"):
            print("waiting for another installation", flush=True)
        installing = asyncio.ensure_future(install(
            records, prefix, client=self.client(), config=self.config, execute_link_scripts=True, reporter=meter,
            package_cache=PackageCache.new_layered([cache], validation_mode=ValidationMode.full()),
        ))
        while not (await asyncio.wait([installing], timeout=1))[0]:
            if meter.loading and time.monotonic() - meter.heard > STALL:
                raise TimeoutError("the download stalled: nothing came for %d seconds" % STALL)
        await installing
        if meter.failed:
            raise ValueError("the post-link script failed of " + ", ".join(meter.failed))
        self.event(step="install", note="%d packages" % len(records))
        for path in (prefix / "conda-meta").glob("*.json"):
            complete(path)
        for variable in activation(prefix, self.request.get("variables") or []):
            if len(json.dumps(variable)) > 6000:
                print("%s is too long to be passed on" % variable.split("=")[0], flush=True)
            else:
                self.event(variable=variable)


async def main():
    # Scripts of packages run as the same user: they shall not read the logins here.
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    conda = Conda(json.load(sys.stdin))
    try:
        await {"virtual": conda.virtual, "solve": conda.solve, "install": conda.install}[conda.request["op"]]()
        return 0
    except Exception as e:
        text = str(e) or type(e).__name__
        kind = "unsatisfiable" if isinstance(e, SolverError) else next((k for k, words in KINDS if re.search(words, text)), "invalid")
        print(text, flush=True)
        if kind == "unsatisfiable" and re.search(r"\bpython\b", text):
            await conda.versions()
        conda.event(error=kind)
        return 1


code = asyncio.run(main())
sys.stdout.flush()
os._exit(code)  # threads of rattler may still call into the interpreter, which dies of it
