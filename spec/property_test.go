package spec

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var env = Env{Hostname: "Box_1.example"}

func mustEncode(t interface{ Fatalf(string, ...any) }, n *Node) []byte {
	data, err := Encode(n)
	if err != nil {
		t.Fatalf("cannot encode: %v", err)
	}
	return data
}

// What is encoded is decoded to the same node, whether it has its defaults or not.
func TestEncodeDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := valid.Draw(t, "node")
		for _, n := range []*Node{n, n.Default(env)} {
			data := mustEncode(t, n)
			back, problems := Decode("node.yaml", data)
			if err := problems.Err(); err != nil {
				t.Fatalf("%v\n%s", err, data)
			}
			if diff := cmp.Diff(n, back); diff != "" {
				t.Fatalf("(-before +after)\n%s\n%s", diff, data)
			}
			if p := Validate(n).Err(); p != nil {
				t.Fatalf("Validate differs from Decode: %v", p)
			}
		}
	})
}

func TestJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := valid.Draw(t, "node")
		data, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var back Node
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if diff := cmp.Diff(n, &back); diff != "" {
			t.Fatalf("(-before +after)\n%s\n%s", diff, data)
		}
	})
}

func TestDefaultTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := valid.Draw(t, "node")
		before := mustEncode(t, n)
		once := n.Default(env)
		if diff := cmp.Diff(once, once.Default(Env{Hostname: "other"})); diff != "" {
			t.Fatalf("(-once +twice)\n%s", diff)
		}
		if diff := cmp.Diff(string(before), string(mustEncode(t, n))); diff != "" {
			t.Fatalf("Default changed what it copies:\n%s", diff)
		}
	})
}

func TestExpandAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := valid.Draw(t, "node").Default(env)
		workers, again := Expand(n), Expand(n)
		ids := map[string]bool{}
		at := 0
		for _, g := range n.Spec.Workers {
			id := g.ID
			if id == "" {
				id = n.Metadata.Name + ":" + g.Name
			}
			for i := range *g.Count {
				w, want := workers[at], id
				if g.ID == "" || *g.Count > 1 {
					want = fmt.Sprintf("%s:%d", id, i)
				}
				if w.Name != fmt.Sprintf("%s/%d", g.Name, i) || w.ID != want || ids[w.ID] {
					t.Fatalf("worker %d is %s, %s", at, w.Name, w.ID)
				}
				if !w.Equal(again[at]) || w.Hash() != again[at].Hash() {
					t.Fatalf("%s differs when expanded again", w.Name)
				}
				if at > 0 && w.Equal(workers[at-1]) {
					t.Fatalf("%s equals %s", w.Name, workers[at-1].Name)
				}
				if w.PackageManager.Type == "" || w.Mode == "" || w.StopGrace == 0 || w.GPUs.IsZero() {
					t.Fatalf("%s has no defaults: %+v", w.Name, w)
				}
				ids[w.ID] = true
				at++
			}
		}
		if at != len(workers) {
			t.Fatalf("%d workers, not %d", len(workers), at)
		}
	})
}

// A stored worker is read back as equal, or an agent would restart all of them.
func TestWorkerJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, w := range Expand(valid.Draw(t, "node").Default(env)) {
			data, err := json.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			var back Worker
			if err := json.Unmarshal(data, &back); err != nil {
				t.Fatalf("%v\n%s", err, data)
			}
			if !w.Equal(back) || w.Hash() != back.Hash() {
				t.Fatalf("%+v became %+v", w, back)
			}
		}
	})
}

func TestDiffAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := valid.Draw(t, "a"), valid.Draw(t, "b")
		if c := Diff(a, a.clone()); len(c) > 0 {
			t.Fatalf("a node differs from itself: %v", c)
		}
		there, back := Diff(a, b), Diff(b, a)
		if same := string(mustEncode(t, a)) == string(mustEncode(t, b)); same != (len(there) == 0) || len(there) != len(back) {
			t.Fatalf("the same: %v\nthere: %v\nback: %v", same, there, back)
		}
		for _, c := range there {
			if c.Old == c.New || c.Class == "" || strings.ContainsAny(c.String(), "\n") {
				t.Fatalf("%#v", c)
			}
		}
	})
}

func TestUnits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, 1<<63-1).Draw(t, "duration"))
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Fatalf("%d is %s, which is %d, %v", d, d, back, err)
		}
		s := Size(rapid.Int64Range(0, 1<<63-1).Draw(t, "size"))
		if back, err := ParseSize(s.String()); err != nil || back != s {
			t.Fatalf("%d is %s, which is %d, %v", s, s, back, err)
		}
	})
}
