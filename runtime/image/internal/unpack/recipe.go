package unpack

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"agentctl/internal/tree"
)

// A recipe is a list of steps, each a letter and its arguments: raw bytes (length,
// bytes), the bytes of a file of the layer (length of the path, path, size), or the end.
const (
	stepRaw  = 'r'
	stepFile = 'f'
	stepEnd  = 'e'
)

const longestRaw = 64 << 10

// tap is the stream on its way to the archive reader. It bounds it, and writes the
// recipe: everything but the bytes of files.
type tap struct {
	r      io.Reader
	n      int64
	left   int64 // bytes that may still come; negative: any number
	out    *bufio.Writer
	raw    []byte
	inFile bool
	broken bool
	err    error // of the recipe
}

func newTap(r io.Reader, o Options) *tap {
	t := &tap{r: r, left: -1}
	if o.Limits.Bytes > 0 { // headers and padding come on top of the files
		t.left = o.Limits.Bytes + int64(o.Limits.Entries)*2048 + 1<<20
	}
	if o.Recipe != nil {
		t.out = bufio.NewWriterSize(o.Recipe, 2*longestRaw)
	}
	return t
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	if t.left >= 0 {
		if t.left -= int64(n); t.left < 0 {
			return 0, fmt.Errorf("%w: the stream is longer than its files may be", ErrLimit)
		}
	}
	if t.out != nil && !t.inFile && !t.broken {
		t.keep(p[:n])
	}
	if err == nil {
		err = t.err
	}
	return n, err
}

func (t *tap) keep(p []byte) {
	if len(t.raw)+len(p) > longestRaw {
		t.flush()
	}
	if len(p) > longestRaw {
		t.step(stepRaw, uint64(len(p)))
		t.write(p)
		return
	}
	t.raw = append(t.raw, p...)
}

func (t *tap) flush() {
	if len(t.raw) > 0 {
		t.step(stepRaw, uint64(len(t.raw)))
		t.write(t.raw)
		t.raw = t.raw[:0]
	}
}

// file says that what comes next are the bytes of a file, until resume.
func (t *tap) file(rel string, size int64) {
	t.inFile = true
	if t.out == nil || t.broken {
		return
	}
	t.flush()
	t.step(stepFile, uint64(len(rel)))
	t.write([]byte(rel))
	t.write(binary.AppendUvarint(nil, uint64(size)))
}

func (t *tap) resume() { t.inFile = false }

// lost says that bytes of a file that the recipe names are gone.
func (t *tap) lost() {
	t.broken = true
	t.raw = nil
}

func (t *tap) step(s byte, n uint64) { t.write(binary.AppendUvarint([]byte{s}, n)) }

func (t *tap) write(p []byte) {
	if _, err := t.out.Write(p); err != nil && t.err == nil {
		t.err = fmt.Errorf("cannot write the recipe of the layer: %w", err)
	}
}

// end ends the recipe.
func (t *tap) end() error {
	if t.out == nil {
		return nil
	}
	if !t.broken {
		t.flush()
		t.write([]byte{stepEnd})
	}
	if err := t.out.Flush(); t.err == nil {
		t.err = err
	}
	return t.err
}

// Pack writes the stream that was unpacked into the folder at path, by its recipe.
// Whoever asks for it checks its digest: files may have changed.
func Pack(ctx context.Context, w io.Writer, path string, recipe io.Reader) error {
	files, err := tree.OpenFiles(path)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	in := bufio.NewReaderSize(recipe, longestRaw)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		step, err := in.ReadByte()
		if err != nil {
			return fmt.Errorf("the recipe of a layer ends too early: %w", err)
		}
		if step == stepEnd {
			return nil
		}
		n, err := binary.ReadUvarint(in)
		switch {
		case err != nil:
		case step == stepRaw:
			_, err = io.CopyN(w, in, int64(n))
		case step == stepFile && n <= unix.PathMax:
			err = packFile(w, files, in, int(n))
		default:
			err = fmt.Errorf("unknown step %q", step)
		}
		if err != nil {
			return fmt.Errorf("cannot follow the recipe of a layer: %w", err)
		}
	}
}

func packFile(w io.Writer, files tree.Files, in *bufio.Reader, n int) error {
	rel := make([]byte, n)
	if _, err := io.ReadFull(in, rel); err != nil {
		return err
	}
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return err
	}
	f, err := files.Open(string(rel))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.CopyN(w, f, int64(size))
	return err
}
