package runtime

import "testing"

func TestProbe(t *testing.T) {
	h, err := probed()
	must(t, err)
	for _, r := range append(h.Containment, h.Mounts...) {
		t.Logf("%-10s works=%v %s", r.Name, r.Works, r.Reason)
		if r.Works != (r.Reason == "") {
			t.Errorf("%s: works is %v, with the reason %q", r.Name, r.Works, r.Reason)
		}
	}
	if !find(h.Containment, Subreaper).Works {
		t.Error("the last rung must work everywhere")
	}
}
