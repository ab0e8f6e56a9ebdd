package envcache

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A package that is built from source writes pip's report itself, and says that a
// clean wheel is all there is. Nobody else may get what it made.
func TestAForgedReportPoisonsNobody(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("clean", "1.0"))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	lock, forged := forgedReport(t, x, req.with("clean"))
	evil := strings.Replace(backend, "import os, sys, time, zipfile\n", fmt.Sprintf(`import os, sys, time, zipfile
report = os.path.join(os.environ["HOME"], %q)
with open(report + ".new", "w") as f:
    f.write(%q)
os.rename(report + ".new", report)
time.sleep(%f)
`, pipReport, forged, (10*reportPause).Seconds()), 1)
	x.add(sdist("evil", "1.0", map[string]string{"backend.py": evil}))
	first := acquire(t, c, req.with("clean", "evil"))
	if first.Hit || first.Lock == nil || !first.Lock.Built {
		t.Fatalf("%+v, lock %+v", first, first.Lock)
	}
	for _, words := range []string{"clean", "clean==1.0", "clean>=1"} {
		if l := acquire(t, c, req.with(words)); l.Key == first.Key {
			t.Fatalf("%s: got the environment of the one who forged", words)
		}
	}
	withLock := req
	withLock.Lock = lock
	if l := acquire(t, c, withLock); l.Key == first.Key {
		t.Fatal("the lock leads to the environment of the one who forged")
	}
}

// forgedReport is what a request is resolved to, and a report of pip that says it.
func forgedReport(t *testing.T, x *indexServer, req Request) (*Lock, string) {
	t.Helper()
	lock := acquire(t, newCache(t, Options{}), req).Lock
	var installed []any
	for _, p := range lock.Packages {
		pin, hash, _ := strings.Cut(p, " --hash=sha256:")
		name, version, _ := strings.Cut(pin, "==")
		link := x.URL + "/files/" + name + "-" + version + "-py3-none-any.whl"
		installed = append(installed, map[string]any{
			"download_info": map[string]any{"url": link, "archive_info": map[string]any{"hashes": map[string]string{"sha256": hash}}},
			"metadata":      map[string]string{"name": name, "version": version},
		})
	}
	forged, err := json.Marshal(map[string]any{"version": "1", "install": installed})
	if err != nil {
		t.Fatal(err)
	}
	return lock, string(forged)
}

// A wheel that an earlier run of pip installed runs code in a later one, which then
// says that the wheel of the same name from the index is in its place.
func TestAWheelForgesTheReportOfALaterRun(t *testing.T) {
	t.Parallel()
	x, evil := newIndexServer(t, "", ""), newIndexServer(t, "", "")
	x.add(wheel("first", "1.0"))
	x.add(wheel("second", "1.0"))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	lock, forged := forgedReport(t, x, req.with("first", "second"))
	file, data := wheel("first", "1.0")
	data = addToWheel(t, data, map[string][]byte{
		"first_forges.pth": []byte("import first_forges\n"),
		"first_forges.py": fmt.Appendf(nil, `import os, sys
if "--report" in sys.orig_argv:
    report = sys.orig_argv[sys.orig_argv.index("--report") + 1]
    with open(report + ".new", "w") as f:
        f.write(%q)
    os.rename(report + ".new", report)
    import time
    time.sleep(%f)
`, forged, (10 * reportPause).Seconds()),
	})
	evil.add(file, data)
	bad := req.with("first @ "+evil.URL+"/files/"+file, "second")
	bad.Priority = []string{"first"}
	first := acquire(t, c, bad)
	withLock := req
	withLock.Lock = lock
	for name, r := range map[string]Request{"lock": withLock, "list": req.with("first", "second"), "pins": req.with("first==1.0", "second==1.0")} {
		if l := acquire(t, c, r); l.Key == first.Key {
			t.Errorf("%s leads to the environment of the one who forged", name)
		}
	}
}

// The packages of another index, link or digest are not what a list of the same
// names and versions means.
func TestPinsOfAnotherSourceAreNotAnotherName(t *testing.T) {
	t.Parallel()
	x, evil := newIndexServer(t, "", ""), newIndexServer(t, "", "")
	x.add(wheel("wanted", "1.0"))
	file, data := wheel("wanted", "1.0", "extra-of-the-evil-one; python_version < '3'")
	evil.add(file, data)
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	link := evil.URL + "/files/" + file
	for name, r := range map[string]Request{
		"index":      req.with("--index-url "+evil.url(), "wanted"),
		"links":      req.with("--no-index", "--find-links "+evil.url()+"/wanted/", "wanted"),
		"constraint": func() Request { r := req.with("wanted"); r.Constraints = []string{"wanted @ " + link}; return r }(),
		"link":       req.with("wanted @ " + link),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, Options{})
			bad := acquire(t, c, r)
			good := acquire(t, c, req.with("wanted==1.0"))
			if good.Key == bad.Key {
				t.Fatalf("a plain list got the packages of %s", evil.URL)
			}
		})
	}
}

// A list that was resolved anew stands under the key that an older one had: what
// the older one was resolved to no longer leads there.
func TestAnAliasKnowsWhatItMeans(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("moving", "1.0"))
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	old := acquire(t, c, req.with("moving"))
	_ = old.Close()
	if err := c.shelf.Remove(old.Key); err != nil { // as a collection that dies before it tidies up
		t.Fatal(err)
	}
	x.add(wheel("moving", "2.0"))
	if l := acquire(t, c, req.with("moving")); l.Key != old.Key || l.Lock.Packages[0][:11] != "moving==2.0" {
		t.Fatalf("%+v, lock %+v", l, l.Lock)
	}
	locked := req
	locked.Lock = old.Lock
	for name, r := range map[string]Request{"lock": locked, "pins": req.with("moving==1.0")} {
		if l := acquire(t, c, r); l.Key == old.Key {
			t.Errorf("%s of the older one got the newer one", name)
		}
	}
	if err := c.tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if bad := litter(t, c.state); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
}

// addToWheel adds files that the wheel's own list does not name.
func addToWheel(t *testing.T, data []byte, files map[string][]byte) []byte {
	t.Helper()
	from, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	to := zip.NewWriter(&b)
	for _, f := range from.File {
		if err := to.Copy(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		w, err := to.Create(name)
		if err == nil {
			_, err = w.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
