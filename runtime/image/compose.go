package image

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"agentctl/internal/fsx"
	"agentctl/internal/tree"
)

// Composition is an image that is made of one that is here and folders of the host.
type Composition struct {
	Base   Entry
	Pieces []Piece
	// Change sets what the new image says of its programs.
	Change func(*Programs)
	// To is where it goes, by ParseTarget.
	To Reference
}

// Programs is how an image starts its programs.
type Programs struct {
	Env        []string
	Entrypoint []string
	Cmd        []string
	WorkingDir string
}

// Piece is a folder that becomes a layer.
type Piece struct {
	Folder string
	// At is where the image has it.
	At string
	// Base and Size are the range of ids of the host that stand for those inside; who is
	// not in it is root inside.
	Base, Size int
}

// composeFolder is where images are put together, one at a time.
const composeFolder = "compose"

// Compose makes an image and puts it where it is to go. Its layers of the base have the
// digests that Export gives them.
func (s *Store) Compose(ctx context.Context, c Composition, say func(string)) (digest string, err error) {
	if s.delegates() {
		return "", errors.New("cannot make an image: the agent is not root")
	}
	work := filepath.Join(s.dir, composeFolder)
	lock, err := fsx.WaitLock(ctx, work+".lock")
	if err != nil {
		return "", fmt.Errorf("cannot make an image: %w", err)
	}
	defer func() { _ = lock.Close() }()
	// What somebody left who was killed goes first.
	if err := errors.Join(tree.Remove(work), os.Mkdir(work, 0o700)); err != nil {
		return "", fmt.Errorf("cannot make an image: %w", err)
	}
	defer func() { err = errors.Join(err, tree.Remove(work)) }()
	img, err := s.compose(ctx, c, work)
	if err == nil {
		err = s.deliver(ctx, img, c.To, work, say)
	}
	if err != nil {
		return "", fmt.Errorf("cannot make an image of %s: %w", short(c.Base.Digest), err)
	}
	sum, err := img.Digest()
	return sum.String(), err
}

func (s *Store) compose(ctx context.Context, c Composition, work string) (v1.Image, error) {
	img, err := s.laidOut(ctx, c.Base, filepath.Join(work, "base"))
	if err != nil {
		return nil, err
	}
	for i, p := range c.Pieces {
		file := filepath.Join(work, fmt.Sprintf("piece-%d.tar", i))
		if err := fsx.WriteWith(file, 0o600, func(w io.Writer) error { return p.pack(ctx, w) }); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Folder, err)
		}
		layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Folder, err)
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "agentctl build " + p.At}, MediaType: types.OCILayer})
		if err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	changed := *config.Config.DeepCopy()
	p := Programs{changed.Env, changed.Entrypoint, changed.Cmd, changed.WorkingDir}
	c.Change(&p)
	changed.Env, changed.Entrypoint, changed.Cmd, changed.WorkingDir = p.Env, p.Entrypoint, p.Cmd, p.WorkingDir
	return mutate.Config(img, changed)
}

// laidOut is an image of the store as the folder of an OCI layout.
func (s *Store) laidOut(ctx context.Context, e Entry, dir string) (v1.Image, error) {
	read, write := io.Pipe()
	var exporting sync.WaitGroup
	exporting.Go(func() { _ = write.CloseWithError(s.Export(ctx, e, write)) })
	err := unarchive(read, dir)
	_ = read.Close() // ends an export that nobody reads on
	exporting.Wait()
	if err != nil {
		return nil, err
	}
	index, err := ocilayout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	return index.Image(m.Manifests[0].Digest)
}

// unarchive writes the files of an archive of ours.
func unarchive(r io.Reader, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o700); err != nil {
		return err
	}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		path, err := fsx.SafeJoin(dir, h.Name)
		if err != nil {
			return err
		}
		if err := fsx.WriteWith(path, 0o600, func(w io.Writer) error { _, err := io.Copy(w, t); return err }); err != nil {
			return err
		}
	}
}

// deliver puts the image where it goes; what was there before is replaced when the new
// one is whole.
func (s *Store) deliver(ctx context.Context, img v1.Image, to Reference, work string, say func(string)) error {
	switch to.where {
	case inRegistry:
		say("pushing to " + to.String())
		return s.push(ctx, img, to.ref)
	case inDockerArchive:
		tag, err := to.tag()
		if err != nil {
			return err
		}
		return fsx.ReplaceWith(to.path, 0o644, func(w io.Writer) error { return tarball.Write(tag, img, w) })
	}
	dir := filepath.Join(work, "out")
	if to.where == inLayout {
		dir = to.path
	}
	path, err := ocilayout.FromPath(dir)
	if err != nil {
		if path, err = ocilayout.Write(dir, empty.Index); err != nil {
			return err
		}
	}
	called := cmp.Or(to.name, "latest")
	// Of two images of one name, readers would take the older one.
	if err := path.ReplaceImage(img, match.Name(called), ocilayout.WithAnnotations(map[string]string{nameAnnotation: called})); err != nil {
		return err
	}
	if to.where == inLayout {
		return nil
	}
	return fsx.ReplaceWith(to.path, 0o644, func(w io.Writer) error {
		t := tar.NewWriter(w)
		return errors.Join(t.AddFS(os.DirFS(dir)), t.Close())
	})
}

func (s *Store) push(ctx context.Context, img v1.Image, ref name.Reference) error {
	repo, err := s.repository(ref.Context().Name())
	if err != nil {
		return err
	}
	err = remote.Write(repo.Tag(ref.Identifier()), img, remote.WithContext(ctx), remote.WithTransport(s.transport), remote.WithAuthFromKeychain(s.keychain))
	return withoutQuery(err)
}
