package frame

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// all reads every good frame in data, as a reader does that knows there will be
// no more.
func all(t interface{ Fatalf(string, ...any) }, data []byte) (frames []Frame) {
	for pos := 0; pos < len(data); {
		f, size, err := Decode(data[pos:])
		switch {
		case err == nil:
			if size < Header || pos+size > len(data) || len(f.Data) != size-Header {
				t.Fatalf("a frame of %d bytes at %d of %d", size, pos, len(data))
			}
			frames = append(frames, f)
			pos += size
		case errors.Is(err, ErrShort) && size <= len(data)-pos:
			t.Fatalf("says that %d bytes are too few and needs %d", len(data)-pos, size)
		default:
			step := Next(data[pos:])
			if step <= 0 {
				t.Fatalf("does not go on at %d", pos)
			}
			pos += step
		}
	}
	return frames
}

func FuzzDecode(f *testing.F) {
	at := time.Unix(12, 34)
	whole := Append(nil, Stdout, at, []byte("hello\n"))
	for _, seed := range [][]byte{nil, whole, whole[:5], whole[:25], append(whole[:20:20], whole...), {0xF7}, {0xF7, 0xF7, 'a', 'C', 1}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all(t, data)
		// Whatever stands before it, a whole frame is found.
		frames := all(t, append(data[:len(data):len(data)], whole...))
		if len(frames) == 0 {
			t.Fatalf("a good frame was lost behind %q", data)
		}
		last := frames[len(frames)-1]
		if last.Stream != Stdout || !last.Time.Equal(at) || string(last.Data) != "hello\n" {
			t.Fatalf("the last frame is %+v", last)
		}
	})
}

// Frames that writers were killed in cost nothing but themselves.
func TestTornFramesCostNoOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var file []byte
		var want [][]byte
		for range rapid.IntRange(0, 20).Draw(t, "frames") {
			data := rapid.SliceOfN(rapid.SampledFrom([]byte{0xF7, 'a', 'C', 1, 0, 'x'}), 0, 60).Draw(t, "data")
			// What ends as a frame begins could be made whole by the next one's first
			// bytes: a chance of one in 256 of a torn last byte, which is taken.
			data = append(data, 'x')
			frame := Append(nil, Stream(rapid.IntRange(1, 3).Draw(t, "stream")), time.Unix(1, 0), data)
			if rapid.Bool().Draw(t, "torn") {
				frame = frame[:rapid.IntRange(0, len(frame)-1).Draw(t, "cut")]
			} else {
				want = append(want, data)
			}
			file = append(file, frame...)
		}
		got := all(t, file)
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i].Data, want[i]) {
				t.Fatalf("frame %d is %q, want %q", i, got[i].Data, want[i])
			}
		}
	})
}

func TestStreams(t *testing.T) {
	for _, s := range []Stream{Stdout, Stderr, Agent} {
		if ParseStream(s.String()) != s {
			t.Errorf("%s is read as %s", s, ParseStream(s.String()))
		}
	}
	if ParseStream("unknown") != 0 || ParseStream("") != 0 {
		t.Error("there is no such stream")
	}
}

// On a full disk the writer leaves no part of a frame, and others' frames alone.
func TestWriterOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system to fill")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	f, err := os.OpenFile(filepath.Join(dir, "console"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	w, room := NewWriter(f), make([]byte, Header+100_000)
	for i := range 4 {
		Put(room, Stdout, time.Now())
		err := w.Write(room)
		if want := i >= 2; (err != nil) != want {
			t.Errorf("write %d: %v", i, err)
		}
		if _, err := Write(f, Agent, time.Now(), []byte("agent")); err != nil {
			t.Errorf("the agent's write %d: %v", i, err)
		}
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if got := all(t, data); len(got) != 6 || len(data) != 2*len(room)+4*(Header+5) {
		t.Errorf("%d frames in %d bytes", len(got), len(data))
	}
}
