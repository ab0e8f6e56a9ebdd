package runtime

import (
	"slices"
	"testing"
)

func TestProbe(t *testing.T) {
	h, err := probed()
	must(t, err)
	for _, r := range slices.Concat(h.Containment, h.Mounts, h.Sandbox) {
		t.Logf("%-10s works=%v %s", r.Name, r.Works, r.Reason)
		if r.Works != (r.Reason == "") {
			t.Errorf("%s: works is %v, with the reason %q", r.Name, r.Works, r.Reason)
		}
	}
	if !find(h.Containment, Subreaper).Works {
		t.Error("the last rung must work everywhere")
	}
}
