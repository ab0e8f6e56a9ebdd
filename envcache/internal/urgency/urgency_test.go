package urgency

import (
	"context"
	"testing"
)

func TestWhoWaitsLifts(t *testing.T) {
	background := func() (context.Context, *Lift) {
		ctx := Background(t.Context())
		return ctx, Of(ctx)
	}
	var b Board
	early, earlyLift := background()
	other, otherLift := background()
	late, lateLift := background()
	after, afterLift := background()
	leaveEarly, leaveOther := b.Enter(early, "key"), b.Enter(other, "other")
	if earlyLift.Lifted() {
		t.Error("lifted though nobody waits")
	}
	leave, again := b.Enter(t.Context(), "key"), b.Enter(t.Context(), "key")
	leave()
	leaveLate := b.Enter(late, "key")
	again()
	leaveAfter := b.Enter(after, "key")
	for name, l := range map[string]struct {
		*Lift
		want bool
	}{"early": {earlyLift, true}, "late": {lateLift, true}, "of another key": {otherLift, false}, "after": {afterLift, false}} {
		if l.Lifted() != l.want {
			t.Errorf("%s: lifted is %v", name, l.Lifted())
		}
	}
	leaveEarly()
	leaveOther()
	leaveLate()
	leaveAfter()
	if len(b.waits)+len(b.makes) > 0 {
		t.Errorf("left behind: %v, %v", b.waits, b.makes)
	}
}

// One request may need one thing twice.
func TestTheSameTwice(t *testing.T) {
	var b Board
	ctx := Background(t.Context())
	first, second := b.Enter(ctx, "key"), b.Enter(ctx, "key")
	first()
	b.Enter(t.Context(), "key")()
	if !Of(ctx).Lifted() {
		t.Error("still in need, and not lifted")
	}
	second()
}

func TestNothingIsLowInTheForeground(t *testing.T) {
	if l := Of(t.Context()); l != nil || !l.Lifted() {
		t.Errorf("lift %v", l)
	}
}

func TestUntil(t *testing.T) {
	var b Board
	ctx := Background(t.Context())
	until, stop := Of(ctx).Until(ctx)
	if until.Err() != nil {
		t.Fatal("ended at once")
	}
	leave := b.Enter(ctx, "key")
	defer leave()
	b.Enter(t.Context(), "key")()
	<-until.Done()
	stop()
	if ctx.Err() != nil {
		t.Error("the work itself was ended")
	}
}
