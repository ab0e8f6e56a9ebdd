package image

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A registry that can't be reached, or is not well, says nothing of the image.
func TestTransient(t *testing.T) {
	s := openStore(t, t.TempDir(), func(o *Options) { o.Insecure = []string{"127.0.0.1:1"} })
	if _, err := s.Acquire(t.Context(), Request{Ref: "127.0.0.1:1/kit/nothing:1"}, nil); !Transient(err) {
		t.Errorf("nobody listens: %v", err)
	}
	for err, want := range map[error]bool{
		nil:                                 false,
		ErrDigest:                           false,
		ErrAbsent:                           false,
		context.Canceled:                    false,
		&transport.Error{StatusCode: 404}:   false,
		&transport.Error{StatusCode: 401}:   false,
		&transport.Error{StatusCode: 503}:   true,
		&transport.Error{StatusCode: 429}:   true,
		fmt.Errorf("layer: %w", errStalled): true,
		&failure{"of a child", []string{"transient"}}:                                              true,
		errors.Join(errors.New("mirror"), &net.OpError{Op: "read", Err: errors.New("reset")}):      true,
		&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}:        false,
		&net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}: true,
	} {
		if got := Transient(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
