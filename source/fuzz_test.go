package source

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// FuzzOpen opens folders with any records: what is taken for a source or a revision
// has a known kind, a place, and the very text that its digest names.
func FuzzOpen(f *testing.F) {
	sum := digest([]byte("x"))
	for _, seed := range []string{
		`{"version":1,"kind":"file","path":"/etc/node.yaml","by":"flags"}`,
		`{"version":1,"kind":"pinned","path":"-","digest":"` + sum + `","by":"apply"}`,
		`{"version":2,"kind":"git","path":"n","git":{"url":"/srv/x.git","path":"n","interval":60000000000},"by":"apply"}`,
		`{"version":1,"number":1,"digest":"` + sum + `","kind":"file","path":"/x","time":"2026-11-24T12:00:00Z"}`,
		`{"version":-1}`, `[]`, ``, `{"version":1,"kind":"pinned","path":"-","digest":"../../../etc/passwd"}`,
	} {
		f.Add([]byte(seed), []byte(seed), []byte("x"))
	}
	f.Fuzz(func(t *testing.T, source, revision, text []byte) {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "revisions"), 0o700))
		for name, data := range map[string][]byte{
			"source.json": source, "pinned-" + digest(text) + ".yaml": text,
			"revisions/0001.json": revision, "revisions/0001.yaml": text,
		} {
			must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
		m, err := Open(dir, Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return
		}
		if s := m.Current(); s.check() != nil || s.Kind == KindPinned && digest(m.text) != s.Digest {
			t.Errorf("taken for a source: %+v", s)
		}
		if r, good, ok := m.LastGood(); ok && (r.Number != 1 || digest(good) != r.Digest) {
			t.Errorf("taken for a revision: %+v", r)
		}
	})
}
