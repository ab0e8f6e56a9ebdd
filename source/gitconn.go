package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// Times of a connection. All of it ends after fetchTimeout, whatever the server does.
const (
	fetchTimeout  = 5 * time.Minute
	answerTimeout = time.Minute
)

// conn is a connection to the upload-pack of a repository.
type conn interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	Close() error
}

// connect opens a connection. What it needs to log in is read now, so that it may
// change while the agent runs.
func (g Git) connect(ctx context.Context) (conn, error) {
	ep, err := g.endpoint()
	if err != nil {
		return nil, err
	}
	switch ep.Protocol {
	case "ssh":
		return g.connectSSH(ctx, ep)
	case "file":
		return connectFile(ctx, ep.Path)
	}
	auth, err := g.login(ep)
	if err != nil {
		return nil, err
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.ResponseHeaderTimeout = answerTimeout
	client := &http.Client{Transport: limited{base}}
	var method transport.AuthMethod
	if auth != nil {
		method = auth
	}
	s, err := githttp.NewClient(client).NewUploadPackSession(ep, method)
	if err != nil {
		return nil, err
	}
	return &web{s, client}, nil
}

// web is a connection by http; its idle connections end with it.
type web struct {
	transport.UploadPackSession
	client *http.Client
}

func (w *web) Close() error {
	defer w.client.CloseIdleConnections()
	return w.UploadPackSession.Close()
}

// limited bounds what the library reads of an answer, errors included.
type limited struct{ *http.Transport }

func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := l.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	most := int64(maxRefs)
	if req.Method == http.MethodPost && res.StatusCode == http.StatusOK {
		most = maxPack + maxRefs
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, most), res.Body}
	return res, nil
}

// pipes is a connection to a process that speaks by its streams.
type pipes struct {
	in    io.WriteCloser
	out   io.Reader
	said  *bytes.Buffer // the beginning of its standard error
	wait  func() error  // until the process has ended; nil if end does
	end   func() error
	adv   *packp.AdvRefs
	asked bool
}

func (p *pipes) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	ar := packp.NewAdvRefs()
	if err := ar.Decode(io.LimitReader(p.out, maxRefs)); err != nil {
		if errors.Is(err, packp.ErrEmptyAdvRefs) {
			return nil, transport.ErrEmptyRemoteRepository
		}
		return nil, p.why(ctx, err)
	}
	transport.FilterUnsupportedCapabilities(ar.Capabilities)
	p.adv = ar
	return ar, nil
}

func (p *pipes) UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	p.asked = true
	err := req.UploadRequest.Encode(p.in)
	if err == nil {
		err = req.UploadHaves.Encode(p.in, true)
	}
	if err == nil {
		err = pktline.NewEncoder(p.in).EncodeString("done\n")
	}
	if err == nil {
		err = p.in.Close()
	}
	res := packp.NewUploadPackResponse(req)
	if err == nil {
		err = res.Decode(io.NopCloser(p.out))
	}
	if err != nil {
		return nil, p.why(ctx, err)
	}
	return res, nil
}

// why prefers what the other side said to how the stream broke.
func (p *pipes) why(ctx context.Context, err error) error {
	_ = p.in.Close()
	if p.wait != nil {
		_ = p.wait() // until all has been said
	}
	_ = p.Close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said := plain(p.said.String()); said != "" {
		return fmt.Errorf("%w: %s", transport.ErrRepositoryNotFound, said)
	}
	return err
}

func (p *pipes) Close() error {
	if p.end == nil {
		return nil
	}
	end := p.end
	p.end = nil
	if !p.asked && p.adv != nil {
		_, _ = p.in.Write(pktline.FlushPkt) // nothing is wanted: the server ends in peace
	}
	_ = p.in.Close()
	return end()
}

// connectFile asks git itself for a repository on this machine.
func connectFile(ctx context.Context, path string) (conn, error) {
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
		return nil, fmt.Errorf("%w: there is no folder %s", transport.ErrRepositoryNotFound, path)
	}
	cmd := exec.CommandContext(ctx, "git", "upload-pack", "--strict", path)
	cmd.Env = append(os.Environ(), "GIT_PROTOCOL=", "LC_ALL=C")
	cmd.WaitDelay = time.Second
	p := &pipes{said: &bytes.Buffer{}, end: cmd.Wait}
	cmd.Stderr = &beginning{p.said}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start git: %w", err)
	}
	p.in, p.out = in, out
	return p, nil
}

// beginning keeps the first bytes and drops the rest.
type beginning struct{ b *bytes.Buffer }

func (w *beginning) Write(p []byte) (int, error) {
	if lack := 1024 - w.b.Len(); lack > 0 {
		w.b.Write(p[:min(lack, len(p))])
	}
	return len(p), nil
}
