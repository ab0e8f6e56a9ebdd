package image

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"agentctl/test/imagekit"
)

// fake is a registry that says whatever it is told.
type fake struct {
	types map[string]string // of manifests, by tag or digest
	data  map[string][]byte // manifests by tag or digest, blobs by digest
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func (f *fake) blob(data []byte) string {
	f.data[digestOf(data)] = data
	return digestOf(data)
}

func (f *fake) manifest(tag, mediaType string, v any) string {
	data, ok := v.([]byte)
	if !ok {
		data, _ = json.Marshal(v)
	}
	for _, name := range []string{tag, f.blob(data)} {
		f.data[name], f.types[name] = data, mediaType
	}
	return digestOf(data)
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) bool {
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch data, ok := f.data[name]; {
	case r.URL.Path == "/v2/":
	case !ok:
		http.Error(w, "{}", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", f.types[name])
		_, _ = w.Write(data)
	}
	return true
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type object = map[string]any

// parts are an image that a case changes before it is put together.
type parts struct {
	f        *fake
	plain    []byte // archive of its layer
	packed   []byte
	config   object
	manifest object
}

func descriptor(mediaType string, data []byte) object {
	return object{"mediaType": mediaType, "digest": digestOf(data), "size": len(data)}
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

// put puts the image together again from its layer and its configuration.
func (p *parts) put() {
	p.f.blob(p.packed)
	config, _ := json.Marshal(p.config)
	p.f.blob(config)
	p.manifest = object{"schemaVersion": 2, "mediaType": ociManifest, "config": descriptor(ociConfig, config), "layers": []object{descriptor(ociLayer, p.packed)}}
}

func (p *parts) layer() object { return p.manifest["layers"].([]object)[0] }

func newParts() *parts {
	p := &parts{f: &fake{map[string]string{}, map[string][]byte{}}}
	p.plain, _ = imagekit.Tar(imagekit.File{Name: "f", Body: strings.Repeat("x", 3000)})
	p.packed = zipped(p.plain)
	p.config = object{"os": "linux", "rootfs": object{"type": "layers", "diff_ids": []string{digestOf(p.plain)}}}
	p.put()
	return p
}

// hostile are images that are not what they say.
var hostile = []struct {
	name   string
	change func(p *parts)
	ref    string // empty: by tag
	err    string // empty: it is safe
}{
	{name: "none at all", change: func(*parts) {}},
	{name: "layer of another digest", change: func(p *parts) { p.f.data[digestOf(p.packed)] = zipped([]byte("other")) }, err: "is not what was asked for"},
	{name: "layer changed in one byte", change: func(p *parts) { p.f.data[digestOf(p.packed)] = append(bytes.Clone(p.packed[:len(p.packed)-1]), 'x') }, err: "is not what was asked for"},
	{name: "layer with another content", change: func(p *parts) {
		p.config["rootfs"] = object{"diff_ids": []string{digestOf([]byte("x"))}}
		p.put()
	}, err: "unpacked it has the digest"},
	{name: "layer that is longer", change: func(p *parts) { p.layer()["size"] = len(p.packed) - 1 }, err: "bytes in place of"},
	{name: "layer that is shorter", change: func(p *parts) { p.layer()["size"] = len(p.packed) + 1 }, err: "bytes in place of"},
	{name: "layer of a negative size", change: func(p *parts) { p.layer()["size"] = -1 }, err: "which is too much"},
	{name: "layer of all bytes", change: func(p *parts) { p.layer()["size"] = int64(1) << 62 }, err: "which is too much"},
	{name: "layer that is not there", change: func(p *parts) { delete(p.f.data, digestOf(p.packed)) }, err: "404"},
	{name: "layer that is truncated", change: func(p *parts) {
		p.packed = p.packed[:len(p.packed)-20]
		p.put()
	}, err: "EOF"},
	{name: "bytes behind the layer", change: func(p *parts) {
		p.packed = append(p.packed, "garbage"...)
		p.put()
	}, err: "EOF"},
	{name: "second layer behind the layer", change: func(p *parts) {
		p.packed = append(p.packed, zipped(p.plain)...)
		p.put()
	}, err: "unpacked it has the digest"},
	{name: "bomb of gzip", change: func(p *parts) {
		p.plain = make([]byte, 8<<20)
		p.packed = zipped(p.plain)
		p.config["rootfs"] = object{"diff_ids": []string{digestOf(p.plain)}}
		p.put()
	}, err: "grows too much"},
	{name: "bomb of zstd", change: func(p *parts) {
		w, _ := zstd.NewWriter(nil)
		p.packed = w.EncodeAll(make([]byte, 8<<20), nil)
		p.put()
	}, err: "grows too much"},
	{name: "zstd with a huge window", change: func(p *parts) {
		p.packed = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf0, 0x01, 0x00, 0x00}
		p.put()
	}, err: "window size"},
	{name: "layer that is no archive", change: func(p *parts) {
		p.packed = zipped(bytes.Repeat([]byte("garbage!"), 1000))
		p.put()
	}, err: "invalid tar header"},
	{name: "layer that leads out", change: func(p *parts) {
		p.plain, _ = imagekit.Tar(imagekit.File{Name: "../../../../../../outside", Body: "x"})
		p.packed = zipped(p.plain)
		p.config["rootfs"] = object{"diff_ids": []string{digestOf(p.plain)}}
		p.put()
	}, err: "leads out of the layer"},
	{name: "digest that is a path", change: func(p *parts) { p.layer()["digest"] = "sha256:../../../../etc/passwd" }, err: "cannot"},
	{name: "digest of no kind", change: func(p *parts) { p.layer()["digest"] = "md5:" + strings.Repeat("0", 32) }, err: "cannot"},
	{name: "no digest", change: func(p *parts) { delete(p.layer(), "digest") }, err: "is no digest"},
	{name: "diffID that is a path", change: func(p *parts) {
		p.config["rootfs"] = object{"diff_ids": []string{"sha256:../../x"}}
		p.put()
	}, err: "cannot"},
	{name: "foreign layer", change: func(p *parts) {
		p.layer()["mediaType"], p.layer()["urls"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []string{"http://169.254.169.254/x"}
		delete(p.f.data, digestOf(p.packed))
	}, err: "404"},
	{name: "layer of no kind", change: func(p *parts) { p.layer()["mediaType"] = "text/html" }, err: "which is no layer"},
	{name: "configuration of another digest", change: func(p *parts) {
		p.f.data[p.manifest["config"].(object)["digest"].(string)] = []byte(`{"os":"linux","rootfs":{"diff_ids":[]}}`)
	}, err: "is not what was asked for"},
	{name: "configuration too large", change: func(p *parts) { p.manifest["config"].(object)["size"] = 9 << 20 }, err: "its configuration has 9437184 bytes"},
	{name: "configuration of another size", change: func(p *parts) {
		p.manifest["config"].(object)["size"] = p.manifest["config"].(object)["size"].(int) - 1
	}, err: "bytes in place of"},
	{name: "configuration that is no JSON", change: func(p *parts) {
		p.manifest["config"] = descriptor(ociConfig, p.f.data[p.f.blob([]byte("<html>"))])
	}, err: "cannot read it"},
	{name: "configuration of a chart", change: func(p *parts) {
		p.manifest["config"].(object)["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
	}, err: "of no container image"},
	{name: "more layers than the configuration tells", change: func(p *parts) { p.manifest["layers"] = []object{p.layer(), p.layer()} }, err: "it tells of 1 layers, the manifest of 2"},
	{name: "too many layers", change: func(p *parts) {
		var all []object
		for range 300 {
			all = append(all, p.layer())
		}
		p.manifest["layers"] = all
	}, err: "it has 300 layers"},
	{name: "for another platform", change: func(p *parts) {
		p.config["architecture"] = "m68k"
		p.put()
	}, err: "it is for linux/m68k"},
	{name: "index and image at once", change: func(p *parts) { p.manifest["manifests"] = []object{} }, err: "an index and an image at once"},
	{name: "image that says it is an index", change: func(p *parts) { p.manifest["mediaType"] = ociIndex }, err: "was sent as"},
	{name: "neither", change: func(p *parts) { delete(p.manifest, "layers") }, err: "neither an image nor an index"},
	{name: "of 2014", change: func(p *parts) { p.manifest = object{"schemaVersion": 1, "fsLayers": []object{}} }, err: "schema 1"},
	{name: "manifest too large", change: func(p *parts) { p.manifest["annotations"] = object{"x": strings.Repeat("x", 5<<20)} }, err: "more than 4194304 bytes"},
	{name: "other manifest than the digest", change: func(p *parts) {
		p.f.data["sha256:"+strings.Repeat("0", 64)] = []byte("{}")
	}, ref: "@sha256:" + strings.Repeat("0", 64), err: "is not what was asked for"},
	{name: "index without an end", change: func(p *parts) {
		next := p.f.manifest("inner", ociManifest, p.manifest)
		for range 6 {
			next = p.f.manifest("inner", ociIndex, object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{{"mediaType": ociIndex, "digest": next, "size": 1}}})
		}
		p.manifest = object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{{"mediaType": ociIndex, "digest": next, "size": 1}}}
	}, err: "leads to an index, and so on"},
	{name: "index of itself", change: func(p *parts) {
		p.f.data["sha256:"+strings.Repeat("1", 64)] = []byte("{}")
		p.manifest = object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{{"digest": "sha256:" + strings.Repeat("1", 64), "size": 1}}}
	}, err: "is not what was asked for"},
	{name: "index for other platforms", change: func(p *parts) {
		p.manifest = object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []object{{"platform": object{"os": "linux", "architecture": "m68k"}}, {"platform": object{"os": "windows", "architecture": "amd64"}}}}
	}, err: "only for linux/m68k, windows/amd64"},
}

func TestHostileImages(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			p := newParts()
			h.change(p)
			p.f.manifest("1", fmt.Sprint(either(p.manifest["mediaType"], ociManifest)), p.manifest)
			if h.name == "image that says it is an index" {
				p.f.types["1"] = ociManifest
			}
			r := imagekit.Serve(t, &imagekit.Registry{Before: p.f.serve})
			base := t.TempDir()
			dir := filepath.Join(base, "images")
			s := openStore(t, dir, func(o *Options) { o.Limits.From = 1 << 20 }, r)
			ref := h.ref
			if ref == "" {
				ref = ":1"
			}
			l, err := s.Acquire(t.Context(), Request{Ref: r.Ref("hostile") + ref}, nil)
			if h.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = l.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), h.err) {
				t.Fatalf("err = %v, want %q", err, h.err)
			}
			if bad := litter(t, dir); bad != nil {
				t.Errorf("left over: %v", bad)
			}
			for _, shelf := range []string{"images", "layers", "refs"} {
				if files, _ := os.ReadDir(filepath.Join(dir, shelf)); len(files) > 0 {
					t.Errorf("%s holds %v", shelf, files)
				}
			}
			if _, err := os.Stat(filepath.Join(base, "outside")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("outside: %v", err)
			}
		})
	}
}

func either(v any, or string) any {
	if v == nil {
		return or
	}
	return v
}
