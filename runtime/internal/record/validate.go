package record

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxString is the kernel's limit for one argument or variable
// (MAX_ARG_STRLEN in linux/binfmts.h), its ending NUL included.
const maxString = 128 << 10

// validID is not a regexp, whose compilation would slow the start of the shim.
func validID(id string) bool {
	for i, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return len(id) > 0 && len(id) <= 100
}

// Validate refuses a Config that could not be run, or that would reach further
// than it says. It looks at nothing on disk. Values of variables are not shown:
// they may be secrets.
func (c *Config) Validate() error {
	errs := []error{c.checkNames(), c.checkCommand(), c.checkUser(), c.checkView()}
	if c.Sandbox != nil {
		errs = append(errs, c.Sandbox.check(c))
	}
	return errors.Join(errs...)
}

// ValidateAhead is Validate for a sandbox of which it is not known yet what will
// run in it.
func (c *Config) ValidateAhead() error {
	if c.Sandbox == nil {
		return errors.New("only a sandbox can be made ahead")
	}
	return errors.Join(c.checkNames(), c.checkUser(), c.checkView(), c.Sandbox.check(c))
}

func (c *Config) checkNames() error {
	var errs []error
	if c.Version < 0 || c.Version > Version {
		errs = append(errs, fmt.Errorf("version %d is not known", c.Version))
	}
	if !validID(c.ID) {
		errs = append(errs, fmt.Errorf("id %.120q is not made of letters, digits, - and _", c.ID))
	}
	errs = append(errs, checkPath("dir", c.Dir), checkPath("cwd", c.Cwd))
	if c.Sandbox != nil && (c.Containment != "" || c.MountNS != "") {
		errs = append(errs, errors.New("a sandbox has its own containment and mount namespace: leave both out"))
	}
	if c.Containment != "" && !slices.Contains(Containments(), c.Containment) {
		errs = append(errs, fmt.Errorf("containment %q is none of %s", c.Containment, strings.Join(Containments(), ", ")))
	}
	if c.MountNS != "" && !slices.Contains(MountRungs(), c.MountNS) {
		errs = append(errs, fmt.Errorf("mount namespace %q is none of %s", c.MountNS, strings.Join(MountRungs(), ", ")))
	}
	if c.Grace < 0 || c.MaxRuntime < 0 {
		errs = append(errs, errors.New("grace and maximum run time must not be negative"))
	}
	return errors.Join(errs...)
}

func (c *Config) checkCommand() error {
	if len(c.Args) == 0 {
		return errors.New("there is no command")
	}
	var errs []error
	// A sandbox finds a bare name by its own PATH.
	if bare := c.Sandbox != nil && c.Args[0] != "" && !strings.Contains(c.Args[0], "/"); !filepath.IsAbs(c.Args[0]) && !bare {
		errs = append(errs, fmt.Errorf("the program %.200q is not an absolute path", c.Args[0]))
	}
	for i, a := range c.Args {
		if err := checkString(a); err != nil {
			errs = append(errs, fmt.Errorf("argument %d %w", i, err))
		}
	}
	for i, kv := range c.Env {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			errs = append(errs, fmt.Errorf("variable %d has no name", i))
		} else if err := checkString(kv); err != nil {
			errs = append(errs, fmt.Errorf("variable %.100q %w", key, err))
		}
	}
	return errors.Join(errs...)
}

func checkString(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return errors.New("holds a NUL byte")
	}
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8")
	}
	if len(s) >= maxString {
		return fmt.Errorf("is %d bytes long, the kernel takes at most %d", len(s), maxString-1)
	}
	return nil
}

func (c *Config) checkUser() error {
	if (c.UID == -1) != (c.GID == -1) {
		return errors.New("user and group must both be given, or both be -1")
	}
	ids := append([]int{max(c.UID, 0), max(c.GID, 0)}, c.Groups...)
	for _, id := range ids {
		// The highest number is the kernel's "leave as it is".
		if id < 0 || id >= math.MaxUint32 {
			return fmt.Errorf("%d is not a user or group number", id)
		}
	}
	if c.UID < -1 || c.GID < -1 {
		return errors.New("user and group must not be below -1")
	}
	return nil
}

func (c *Config) checkView() error {
	var errs []error
	seen := map[string]string{}
	once := func(what, path string) {
		errs = append(errs, checkPath(what, path))
		if path == "/" {
			errs = append(errs, fmt.Errorf("%s must not be /", what))
		}
		if seen[path] != "" {
			errs = append(errs, fmt.Errorf("%s %.200q is named as %s too", what, path, seen[path]))
		}
		seen[path] = what
	}
	for _, o := range c.Overlays {
		once("overlay target", o.Target)
		errs = append(errs, checkPath("overlay lower", o.Lower))
		if o.Upper == "" {
			continue
		}
		errs = append(errs, checkPath("overlay upper", o.Upper))
		if within(o.Upper, o.Lower) || within(o.Lower, o.Upper) {
			errs = append(errs, fmt.Errorf("overlay upper %.200q and lower %.200q lie in each other", o.Upper, o.Lower))
		}
	}
	for _, h := range c.Hide {
		once("hidden folder", h)
	}
	for _, k := range c.Keep {
		once("kept path", k)
	}
	for _, o := range c.Own {
		errs = append(errs, checkPath("own folder", o))
	}
	return errors.Join(errs...)
}

func checkPath(what, path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.IndexByte(path, 0) >= 0 || !utf8.ValidString(path) {
		return fmt.Errorf("%s %.200q is not a clean absolute path", what, path)
	}
	return nil
}

// within tells whether path is dir or lies below it; both are clean.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
