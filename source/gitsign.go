package source

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// namespace is what git signs for, so that a signature of anything else is none.
const namespace = "git"

// signer is whose signature a commit has, by the files of g.
func (g Git) signer(c *object.Commit) (string, error) {
	switch {
	case c.PGPSignature == "":
		return "", gitError("NotSigned", "it is not signed")
	case strings.HasPrefix(c.PGPSignature, "-----BEGIN SSH SIGNATURE-----"):
		if g.AllowedSigners == "" {
			return "", gitError("NotSigned", "it is signed by an SSH key, but no allowed signers are named")
		}
		return sshSigner(c, g.AllowedSigners)
	case g.Keyring == "":
		return "", gitError("NotSigned", "it is signed with OpenPGP, but no keyring is named")
	}
	ring, err := secretFile(g.Keyring)
	if err != nil {
		return "", gitError("NotSigned", "%w", err)
	}
	who, err := c.Verify(string(ring))
	if err != nil {
		return "", gitError("NotSigned", "its signature is not of the keyring: %s", plain(err.Error()))
	}
	if id := who.PrimaryIdentity(); id != nil {
		return plain(id.Name), nil
	}
	return fmt.Sprintf("%X", who.PrimaryKey.Fingerprint), nil
}

func sshSigner(c *object.Commit, file string) (string, error) {
	list, err := secretFile(file)
	if err != nil {
		return "", gitError("NotSigned", "%w", err)
	}
	signers, err := parseSigners(string(list))
	if err != nil {
		return "", gitError("NotSigned", "cannot use %s: %w", file, err)
	}
	block, rest := pem.Decode([]byte(c.PGPSignature))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return "", gitError("NotSigned", "its signature can't be read")
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return "", gitError("NotSigned", "its signature can't be read")
	}
	for _, s := range signers {
		if string(s.key.Marshal()) != string(sig.PublicKey.Marshal()) || !s.fits(c.Committer.When) {
			continue
		}
		signed, err := unsigned(c)
		if err != nil {
			return "", damaged(err)
		}
		if err := sshsig.Verify(signed, sig, s.key, sig.HashAlgorithm, namespace); err != nil {
			return "", gitError("NotSigned", "its signature is not of its text: %s", plain(err.Error()))
		}
		return s.who, nil
	}
	return "", gitError("NotSigned", "it is signed by a key that is not among the allowed signers (%s)", ssh.FingerprintSHA256(sig.PublicKey))
}

// unsigned is what was signed.
func unsigned(c *object.Commit) (io.Reader, error) {
	o := &plumbing.MemoryObject{}
	if err := c.EncodeWithoutSignature(o); err != nil {
		return nil, err
	}
	return o.Reader()
}

// allowed is a line of the allowed signers.
type allowed struct {
	who           string
	key           ssh.PublicKey
	after, before time.Time
	spaces        []string // what it may sign; none: anything
}

// fits tells whether the key may sign commits that were made then.
func (a allowed) fits(then time.Time) bool {
	within := (a.after.IsZero() || !then.Before(a.after)) && (a.before.IsZero() || then.Before(a.before))
	for _, s := range a.spaces {
		if ok, err := path.Match(s, namespace); err == nil && ok {
			return within
		}
	}
	return within && len(a.spaces) == 0
}

// parseSigners reads the file that ssh-keygen calls allowed_signers. What it does
// not know is an error: an option that is passed over may be the one that restricts.
func parseSigners(text string) ([]allowed, error) {
	var out []allowed
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		who, rest := cutPrincipals(line)
		key, _, options, left, err := ssh.ParseAuthorizedKey([]byte(rest))
		if err != nil || who == "" || len(left) > 0 {
			return nil, fmt.Errorf("line %d is not as NAME [OPTIONS] KEYTYPE KEY", n)
		}
		a := allowed{who: plain(who), key: key}
		for _, o := range options {
			if err := a.option(o); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// cutPrincipals takes off the names, which may be quoted.
func cutPrincipals(line string) (who, rest string) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		who, rest, _ = strings.Cut(quoted, `"`)
		return who, strings.TrimSpace(rest)
	}
	if at := strings.IndexAny(line, " \t"); at > 0 {
		return line[:at], strings.TrimSpace(line[at:])
	}
	return line, ""
}

func (a *allowed) option(o string) (err error) {
	key, value, _ := strings.Cut(o, "=")
	value = strings.Trim(value, `"`)
	switch strings.ToLower(key) {
	case "namespaces":
		a.spaces = strings.Split(value, ",")
	case "valid-after":
		a.after, err = stamp(value)
	case "valid-before":
		a.before, err = stamp(value)
	default:
		return fmt.Errorf("the option %q is not known here", plain(key))
	}
	return err
}

// stamp reads YYYYMMDD[HHMM[SS]][Z]; without Z it is local time, as for ssh-keygen.
func stamp(s string) (time.Time, error) {
	zone := time.Local
	digits, utc := strings.CutSuffix(s, "Z")
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil && len(digits) == len(layout) {
			return t, nil
		}
	}
	return time.Time{}, errors.New("a time is not as YYYYMMDD or YYYYMMDDHHMMSS")
}
