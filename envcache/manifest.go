package envcache

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"agentctl/internal/fsx"
	"agentctl/internal/tree"
)

// item is one line of a manifest. Times tell cheaply that a file was not
// touched: the time of change can't be set back by who writes a file. Where it
// moved for another reason, as after a copy of the disk, the digest decides.
type item struct {
	kind   byte // d folder, f file, l link, x socket, FIFO or device
	mode   fs.FileMode
	size   int64
	mtime  int64 // ns
	ctime  int64 // ns
	digest string
	target string // of a link
	path   string
}

const manifestHead = "agentctl manifest 1"

func (it item) String() string {
	return fmt.Sprintf("%c %o %d %d %d %s %s %s", it.kind, it.mode, it.size, it.mtime, it.ctime,
		orDash(it.digest), strconv.Quote(it.target), strconv.Quote(it.path))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func parseItem(line string) (item, error) {
	bad := fmt.Errorf("cannot read manifest line %q", shorten(line))
	words := strings.SplitN(line, " ", 7)
	if len(words) != 7 || len(words[0]) != 1 || !strings.Contains("dflx", words[0]) {
		return item{}, bad
	}
	it := item{kind: words[0][0]}
	mode, err1 := strconv.ParseUint(words[1], 8, 32)
	size, err2 := strconv.ParseInt(words[2], 10, 64)
	mtime, err3 := strconv.ParseInt(words[3], 10, 64)
	ctime, err4 := strconv.ParseInt(words[4], 10, 64)
	target, err5 := strconv.QuotedPrefix(words[6])
	if errors.Join(err1, err2, err3, err4, err5) != nil {
		return item{}, bad
	}
	rest, found := strings.CutPrefix(words[6][len(target):], " ")
	path, err6 := strconv.Unquote(rest)
	plain, err7 := strconv.Unquote(target)
	if !found || err6 != nil || err7 != nil {
		return item{}, bad
	}
	it.mode, it.size, it.mtime, it.ctime = fs.FileMode(mode), size, mtime, ctime
	it.target, it.path = plain, path
	if words[5] != "-" {
		it.digest = words[5]
	}
	return it, nil
}

// manifest is what is in a tree.
type manifest []item

// bytes is the size of all files.
func (m manifest) bytes() (n int64) {
	for _, it := range m {
		n += it.size
	}
	return n
}

// survey lists a tree; digests are added by hash.
func survey(ctx context.Context, top string) (manifest, error) {
	var m manifest
	err := tree.Walk(top, func(n tree.Node) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		it, err := describe(n)
		if err == nil {
			m = append(m, it)
		}
		return err
	}, nil)
	return m, err
}

func describe(n tree.Node) (item, error) {
	st, ok := n.Info.Sys().(*syscall.Stat_t)
	if !ok {
		return item{}, fmt.Errorf("cannot describe %s", n.Rel)
	}
	it := item{path: n.Rel, mode: n.Info.Mode().Perm()}
	switch mode := n.Info.Mode(); {
	case mode.IsDir():
		it.kind = 'd' // its times change with what is in it, which is listed anyway
	case mode.IsRegular():
		it.kind, it.size = 'f', n.Info.Size()
		it.mtime, it.ctime = n.Info.ModTime().UnixNano(), st.Ctim.Nano()
	case mode.Type() == fs.ModeSymlink:
		target, err := n.Dir.Readlink(n.Name)
		if err != nil {
			return item{}, err
		}
		it.kind, it.target, it.mode = 'l', target, 0
	default:
		it.kind = 'x'
	}
	return it, nil
}

// hash adds the digests of all files for which want says so.
func (m manifest) hash(ctx context.Context, top string, want func(i int) bool) error {
	files, err := tree.OpenFiles(top)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	all := make([]*item, 0, len(m))
	for i := range m {
		if m[i].kind == 'f' && want(i) {
			all = append(all, &m[i])
		}
	}
	all, err = hashGently(ctx, files, all)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, it := range all {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			return it.hash(files, nil)
		})
	}
	return g.Wait()
}

// buffers are for reading: ten thousand files need no new one each.
var buffers = sync.Pool{New: func() any { return new(make([]byte, 128<<10)) }}

// hash reads the file, at a pace if there is one.
func (it *item) hash(files tree.Files, pace *pace) error {
	f, err := files.Open(it.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h, buf := sha256.New(), buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if _, err := io.CopyBuffer(h, pace.of(f), *buf); err != nil {
		return err
	}
	it.digest = hex.EncodeToString(h.Sum(nil))
	return nil
}

func (m manifest) write(path string) error {
	return fsx.WriteFile(path, m.text(), 0o600)
}

func (m manifest) text() []byte {
	var b bytes.Buffer
	b.WriteString(manifestHead + "\n")
	for _, it := range m {
		b.WriteString(it.String() + "\n")
	}
	fmt.Fprintf(&b, "end %d\n", len(m))
	return b.Bytes()
}

// readManifest reads a manifest and fails if any of it is missing.
func readManifest(r io.Reader) (manifest, error) {
	var m manifest
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != manifestHead {
		return nil, errors.Join(errors.New("this is no manifest"), lines.Err())
	}
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), "end "); ok {
			if n != strconv.Itoa(len(m)) {
				return nil, errors.New("the manifest is damaged")
			}
			return m, nil
		}
		it, err := parseItem(lines.Text())
		if err != nil {
			return nil, err
		}
		m = append(m, it)
	}
	return nil, errors.Join(errors.New("the manifest has no end"), lines.Err())
}

// Changed is the error of an environment that is not as it was built.
type Changed struct {
	Paths []string // what was changed, added or removed, up to a number
	More  int      // beyond it
}

// mostChanged is how many files a Changed names.
const mostChanged = 1000

// Error names the first files.
func (c *Changed) Error() string {
	few := c.Paths[:min(len(c.Paths), 5)]
	s := "the environment was changed: " + strings.Join(few, ", ")
	if more := len(c.Paths) - len(few) + c.More; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

func (c *Changed) add(how, path string) {
	if len(c.Paths) < mostChanged {
		c.Paths = append(c.Paths, how+" "+strconv.Quote(path))
		return
	}
	c.More++
}

// compare checks the tree at top against m. Files whose times moved, and all
// files when full is set, are read.
func (m manifest) compare(ctx context.Context, top string, full bool) error {
	now, err := survey(ctx, top)
	if err != nil {
		return err
	}
	old := make(map[string]item, len(m))
	for _, it := range m {
		old[it.path] = it
	}
	doubt := func(i int) bool {
		was, ok := old[now[i].path]
		return ok && was.size == now[i].size && (full || was.mtime != now[i].mtime || was.ctime != now[i].ctime)
	}
	if err := now.hash(ctx, top, doubt); err != nil {
		return err
	}
	found := &Changed{}
	for _, it := range now {
		was, ok := old[it.path]
		delete(old, it.path)
		switch {
		case !ok:
			found.add("added", it.path)
		case it.kind != was.kind || it.mode != was.mode || it.size != was.size || it.target != was.target,
			it.digest != "" && it.digest != was.digest:
			found.add("changed", it.path)
		}
	}
	for _, it := range m {
		if _, gone := old[it.path]; gone {
			found.add("removed", it.path)
		}
	}
	if len(found.Paths) > 0 {
		return found
	}
	return nil
}
