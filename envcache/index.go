package envcache

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
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

// fetch downloads the file named name of a project from the simple index at
// base, and checks its digest.
func (x *index) fetch(ctx context.Context, base, project, name, sha string) ([]byte, error) {
	page := strings.TrimRight(base, "/") + "/" + project + "/"
	body, from, err := x.get(ctx, page, mostPage)
	if err != nil {
		return nil, err
	}
	link, err := findFile(body, from, name)
	if err != nil {
		return nil, err
	}
	data, _, err := x.get(ctx, link, mostWheel)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != sha {
		return nil, fmt.Errorf("%s has the digest %x, not %s", name, sum, sha)
	}
	return data, nil
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

var anchor = regexp.MustCompile(`(?is)<a\s[^>]*?href\s*=\s*["']([^"']*)["']`)

// findFile finds the link to a file on a page of a simple index, in its JSON
// (PEP 691) or HTML (PEP 503) form.
func findFile(page []byte, from *url.URL, name string) (string, error) {
	var links []string
	var doc struct {
		Files []struct {
			Filename, URL string
		} `json:"files"`
	}
	if json.Unmarshal(page, &doc) == nil {
		for _, f := range doc.Files {
			if f.Filename == name {
				links = append(links, f.URL)
			}
		}
	} else {
		for _, m := range anchor.FindAllSubmatch(page, -1) {
			links = append(links, html.UnescapeString(string(m[1])))
		}
	}
	for _, link := range links {
		u, err := from.Parse(link)
		if err == nil && u.Path[strings.LastIndex(u.Path, "/")+1:] == name && (u.Scheme == "https" || u.Scheme == "http") {
			u.Fragment, u.User = "", nil
			return u.String(), nil
		}
	}
	return "", fmt.Errorf("the index has no %s", name)
}
