package envcache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"agentctl/envcache/internal/secret"
)

const (
	mostPage  = 32 << 20
	mostWheel = 16 << 20
)

// index reads files from a package index. It serves to fetch the private pip;
// all else pip does.
type index struct {
	client *http.Client
	logins []secret.Machine
}

func newIndex(settings pipSettings, logins []secret.Machine, host string) (*index, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	transport.DisableKeepAlives = true // a handful of requests; no connection is to outlive them
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if settings.cert != "" {
		pem, err := os.ReadFile(settings.cert)
		if err != nil {
			return nil, fmt.Errorf("cannot read pip's cert: %w", err)
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig.RootCAs = roots
	}
	// pip's trusted-host: the operator said so, and the file's digest is known anyway.
	transport.TLSClientConfig.InsecureSkipVerify = slices.Contains(settings.trusted, host)
	return &index{&http.Client{Transport: transport, Timeout: 3 * time.Minute}, logins}, nil
}

// get reads a URL. The second result is the URL that answered in the end.
func (x *index) get(ctx context.Context, link string, most int64) ([]byte, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, nil, errors.New("cannot read a package index: its URL is not valid")
	}
	req.Header.Set("Accept", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, */*;q=0.01")
	if login, ok := secret.Lookup(x.logins, req.URL.Hostname()); ok {
		req.SetBasicAuth(login.User, login.Password)
	}
	resp, err := x.client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read %s: %s", secret.RedactURLs(link), secret.RedactURLs(rootCause(err).Error()))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("cannot read %s: %w", secret.RedactURLs(link), &statusError{resp.StatusCode, resp.Status})
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read %s: %w", secret.RedactURLs(link), err)
	}
	if int64(len(data)) > most {
		return nil, nil, fmt.Errorf("cannot read %s: it is longer than %d bytes", secret.RedactURLs(link), most)
	}
	return data, resp.Request.URL, nil
}

// statusError is the answer of an index that is not 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return "HTTP " + e.text }

// rootCause drops the URL that net/http puts in front.
func rootCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
