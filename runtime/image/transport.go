package image

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// newTransport makes the connections of all pulls of a store.
func (s *Store) newTransport() (http.RoundTripper, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	for _, ca := range s.opts.CAs {
		roots.AddCert(ca)
	}
	s.connections = &http.Transport{
		Proxy:       s.opts.Proxy,
		DialContext: (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		// A blob is to arrive as its digest says, not as it was unpacked on the way.
		DisableCompression: true,
		// No HTTP/2: there a stream whose reader is slow, as one that writes files is, holds
		// up the others.
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: stall,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		ReadBufferSize:        64 << 10,
	}
	retry := transport.Backoff{Duration: s.backoff, Factor: 3, Jitter: 0.1, Steps: 3}
	return transport.NewRetry(guard{s, s.connections}, transport.WithRetryBackoff(retry), transport.WithRetryPredicate(passes),
		transport.WithRetryStatusCodes(http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)), nil
}

// passes tells whether a failure may be gone at the next try.
func passes(err error) bool {
	var refused *net.OpError
	var timeout net.Error
	var answer *transport.Error // one whose status is worth a further try
	switch {
	case errors.As(err, &answer):
		return true
	case errors.Is(err, errPlain), errors.As(err, new(*tls.CertificateVerificationError)):
		return false
	case errors.As(err, &refused) && refused.Op == "dial":
		return false
	}
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, net.ErrClosed) || cut(err)
}

// errTransient is such an error that a child has told of.
var errTransient = errors.New("the registry can't be reached")

// Transient tells whether an error is one of the way to a registry, or of a registry that
// is not well, and says nothing of the image.
func Transient(err error) bool {
	var answer *transport.Error
	var lookup *net.DNSError
	var network net.Error
	switch {
	case errors.Is(err, errTransient):
		return true
	case errors.Is(err, errPlain), errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, &lookup) && lookup.IsNotFound:
		return false
	case errors.As(err, &answer):
		return answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
	}
	return errors.As(err, new(*net.OpError)) || errors.As(err, &network) && network.Timeout() || cut(err)
}

var errPlain = errors.New("it would be spoken to without TLS, which only registries named as insecure are")

// guard refuses what go-containerregistry would do by itself: speak to registries with
// private addresses without TLS.
type guard struct {
	store *Store
	next  http.RoundTripper
}

func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !g.store.insecure(req.URL.Host) {
		return nil, fmt.Errorf("cannot ask %s: %w", req.URL.Host, errPlain)
	}
	resp, err := g.next.RoundTrip(req)
	if err == nil && (resp.StatusCode >= http.StatusBadRequest || req.URL.Path == "/v2/") {
		// What is no content is read whole by the library.
		resp.Body = limited{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// maxAnswer bounds answers that carry no content: they become part of errors.
const maxAnswer = 8 << 10

type limited struct {
	io.Reader
	io.Closer
}

func (s *Store) insecure(host string) bool { return slices.Contains(s.opts.Insecure, host) }

// checkRedirect keeps a registry from sending us to what only this host can reach, such
// as the cloud's metadata.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("too many redirects")
	}
	from, to := via[0].URL.Hostname(), req.URL.Hostname()
	if ip, err := netip.ParseAddr(to); err == nil && from != to {
		if ip = ip.Unmap(); ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%s sends us to %s, which is refused", from, to)
		}
	}
	return nil
}
