package envcache

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/test/condakit"
)

// authority makes a certificate for 127.0.0.1 and the authority that signed it.
func authority(t *testing.T) (server tls.Certificate, ca []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "channel"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	var ders [2][]byte
	for i, c := range []*x509.Certificate{root, leaf} {
		if ders[i], err = x509.CreateCertificate(rand.Reader, c, root, &key.PublicKey, key); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: ders[1:], PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ders[0]})
}

// Channels behind a site's own authority and proxy, as .condarc names them. That
// a package is missed shows that the channel was read.
func TestCondaReachesChannelsAsTheHostDoes(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	files := http.FileServer(http.Dir(kit.Dir))
	secure := httptest.NewUnstartedServer(files)
	cert, ca := authority(t)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "channel.invalid" || r.Header.Get("Proxy-Authorization") == "" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	for name, tc := range map[string]struct{ condarc, channel, want string }{
		"a foreign authority": {"", secure.URL, "can't be reached"},
		"our authority":       {"ssl_verify: ca.pem", secure.URL, "No candidates were found for nosuch"},
		"no authority":        {"ssl_verify: false", secure.URL, "No candidates were found for nosuch"},
		"a proxy":             {"proxy_servers: {http: \"" + strings.Replace(proxy.URL, "://", "://u:s3same-open@", 1) + "\"}", "http://channel.invalid", "No candidates were found for nosuch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			condarc := strings.Replace(tc.condarc, "ca.pem", filepath.Join(home, "ca.pem"), 1)
			writeFiles(t, home, map[string]string{".condarc": condarc, "ca.pem": string(ca)})
			env := map[string]string{"HOME": home, "no_proxy": "", "NO_PROXY": ""}
			c := condaCache(t, SameUser, Options{Getenv: environ(env)})
			_, err := c.Acquire(t.Context(), condaRequest(kit, tc.channel+"/main").conda("nosuch"), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3same") {
				t.Fatalf("err = %v", err)
			}
		})
	}
}
