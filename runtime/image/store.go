package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

const (
	syncedSuffix = ".synced"
	layersLock   = ".layers" // shared: an image is being published; alone: layers are being removed
	bootFile     = "boot"
	idsFile      = "ids.json"
)

// Store holds the images of one state folder. Its methods may be called from many
// goroutines, and on one folder from many processes, at once.
type Store struct {
	dir       string
	opts      Options
	asSeen    string // the way of a store whose agent sees its ids in another way
	images    *shelf.Shelf[imageRecord]
	layers    *shelf.Shelf[layerRecord]
	added     *shelf.Shelf[addedRecord]
	keychain  keychain
	transport http.RoundTripper
	backoff   time.Duration // before a request is tried again
	awaited   atomic.Int32  // orders that somebody waits for

	connections *http.Transport
	flusher     flusher
}

// imageRecord is what is known of an image besides its manifest and configuration.
type imageRecord struct {
	Digest    string        `json:"digest"`
	MediaType string        `json:"mediaType"`
	Layers    []imageLayer  `json:"layers"` // the lowest first
	Config    Config        `json:"config"`
	Created   time.Time     `json:"created,omitzero"` // by whoever made it
	Packed    int64         `json:"packed"`           // bytes of its layers as they were fetched
	Took      time.Duration `json:"took"`
}

type imageLayer struct {
	Key    string `json:"key"`
	Digest string `json:"digest"`
	DiffID string `json:"diffID"`
	Packed int64  `json:"packed"`
	Bytes  int64  `json:"bytes"`
	Opaque bool   `json:"opaque,omitempty"`
}

type layerRecord struct {
	DiffID  string `json:"diffID"`
	Size    int64  `json:"size"` // of its archive
	Entries int    `json:"entries"`
	Opaque  bool   `json:"opaque,omitempty"`
	Dropped int    `json:"dropped,omitempty"`
	Lost    bool   `json:"lost,omitempty"` // can't be exported
}

// Open opens the store in dir, which it creates, and removes what dead processes and
// a machine that went down left there.
func Open(dir string, opts Options) (*Store, error) { return open(dir, opts, "") }

// open is Open; way, if not empty, is that of the agent's store.
func open(dir string, opts Options, way string) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("cannot keep images in %q: the path must be absolute", dir)
	}
	s := &Store{dir: dir, opts: opts.filled(), asSeen: way, backoff: time.Second}
	if s.delegates() {
		// What dead processes left may belong to others than this user.
		if _, err := s.delegate(context.Background(), order{}, nil, nil, nil); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "refs"), 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep images: %w", err)
	}
	// Programs of layers may be setuid: users of the host must not come to them.
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep images: %w", err)
	}
	err := s.agree()
	if err != nil {
		return nil, fmt.Errorf("cannot keep images: %w", err)
	}
	if s.layers, err = shelf.Open[layerRecord](filepath.Join(dir, "layers"), shelf.Options{Name: "layer", Lazy: true, Log: s.opts.Log}); err != nil {
		return nil, err
	}
	if s.images, err = shelf.Open[imageRecord](filepath.Join(dir, "images"), shelf.Options{Name: "image", Side: []string{syncedSuffix}, Lazy: true, Log: s.opts.Log}); err != nil {
		return nil, err
	}
	if s.added, err = shelf.Open[addedRecord](filepath.Join(dir, "added"), shelf.Options{Name: "added", Log: s.opts.Log}); err != nil {
		return nil, err
	}
	if err := s.afterBoot(); err != nil {
		return nil, fmt.Errorf("cannot clear images after a start of the machine: %w", err)
	}
	s.keychain = keychain{s.opts.Credentials, s.opts.Getenv}
	if s.transport, err = s.newTransport(); err != nil {
		return nil, err
	}
	return s, nil
}

// Recorded tells how the store in dir was last opened by an agent: the begin and the
// length of its range of ids, and whether it was no root. All are zero if never.
func Recorded(dir string) (shift, length int, rootless bool, err error) {
	var was ids
	if err := fsx.ReadJSON(filepath.Join(dir, idsFile), &was); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, false, err
	}
	return was.Shift, was.IDs, was.Rootless, nil
}

// ids is how the store was last opened.
type ids struct {
	Version  int  `json:"version"`
	Shift    int  `json:"shift"`
	IDs      int  `json:"ids"`
	Rootless bool `json:"rootless"`
}

// agree takes the id range of the store over, or writes it down.
func (s *Store) agree() error {
	if s.asSeen != "" {
		return nil
	}
	path := filepath.Join(s.dir, idsFile)
	var was ids
	if err := fsx.ReadJSON(path, &was); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.opts.Recorded {
		if was.Version != 0 {
			s.opts.Shift, s.opts.IDs, s.opts.Rootless = was.Shift, was.IDs, was.Rootless
		}
		return nil
	}
	if now := (ids{1, s.opts.Shift, s.opts.IDs, s.opts.Rootless}); now != was {
		return fsx.WriteJSON(path, now, 0o600)
	}
	return nil
}

// Close waits until all that was pulled is on the disk.
func (s *Store) Close() error {
	err := s.flusher.wait()
	s.connections.CloseIdleConnections()
	return err
}

// bootID tells one start of the machine from another.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
}

// afterBoot throws away what was not on the disk yet when the machine went down.
func (s *Store) afterBoot() error {
	path, now := filepath.Join(s.dir, bootFile), bootID()
	same := func() bool {
		was, err := os.ReadFile(path)
		return err == nil && strings.TrimSpace(string(was)) == now
	}
	if same() {
		return nil
	}
	l, err := fsx.WaitLock(context.Background(), path+".lock")
	if err != nil {
		return err
	}
	defer func() { _ = l.Unlock() }()
	if same() {
		return nil
	}
	all, err := s.images.Entries()
	if err != nil {
		return err
	}
	for _, e := range all {
		if _, err := os.Lstat(s.images.Path(e.Key) + syncedSuffix); err == nil {
			continue
		}
		s.opts.Log.Info("throwing away an image that was not on the disk yet", "image", e.Entry.Digest)
		if err := s.images.Remove(e.Key); err != nil && !errors.Is(err, fsx.ErrLocked) {
			return err
		}
	}
	if _, err := s.clearLayers(context.Background()); err != nil {
		return err
	}
	return fsx.WriteFile(path, []byte(now+"\n"), 0o600)
}
