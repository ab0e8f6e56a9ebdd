package sandbox

import (
	"encoding/binary"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"agentctl/runtime/shim/command"
)

func TestOrder(t *testing.T) {
	f, err := order(command.Command{Args: []string{"/bin/a", "b c"}, Env: []string{"D=", "E=f"}, Cwd: "/g"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1000))
	if err != nil {
		t.Fatal(err)
	}
	var head orderHead
	n, err := binary.Decode(data, binary.NativeEndian, &head)
	if want := "/g\x00/bin/a\x00/bin/a\x00b c\x00D=\x00E=f\x00"; err != nil || head != (orderHead{1, 2, 2}) || string(data[n:]) != want {
		t.Errorf("%+v, %q, %v", head, data[n:], err)
	}
	for _, cmd := range []command.Command{{Args: []string{"/a\x00b"}}, {Args: []string{"/a"}, Env: []string{"A=\x00"}}, {Args: []string{"/a"}, Cwd: "/\x00"}} {
		if _, err := order(cmd); err == nil || !strings.Contains(err.Error(), "NUL") {
			t.Errorf("%+v: %v", cmd, err)
		}
	}
}

func TestCandidates(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		want       []string
	}{
		{"/bin/a", "PATH=/x", []string{"/bin/a"}},
		{"b/a", "PATH=/x", []string{"b/a"}},
		{"a", "PATH=/x:y", []string{"/x/a", "/y/a", "/x/a", "/y/a"}},
		{"a", "PATH=/x", []string{"/x/a", "/x/a"}},
	} {
		if got := candidates(command.Command{Args: []string{tt.name}, Env: []string{tt.path}}); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s along %s: %q", tt.name, tt.path, got)
		}
	}
	if got := candidates(command.Command{Args: []string{"a"}}); len(got) != 12 || got[0] != "/usr/local/sbin/a" {
		t.Errorf("without PATH: %q", got)
	}
}

// FuzzMessage: the runner is no more to be trusted than the task beside it.
func FuzzMessage(f *testing.F) {
	told, _ := binary.Append(message{What: failed, Number: uint32(syscall.ENOENT)}.encode(), binary.NativeEndian, failure{At: atExec, CwdMode: syscall.S_IFDIR})
	f.Add([]byte{})
	f.Add(append(told, "/bin/a"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m message
		more, err := m.decode(data)
		if err != nil {
			return
		}
		if string(m.encode()) != string(data[:len(data)-len(more)]) {
			t.Errorf("%+v is not what %x says", m, data)
		}
		if explain(command.Command{Args: []string{"a"}}, m.Number, more) == nil {
			t.Error("a failure without words")
		}
	})
}
