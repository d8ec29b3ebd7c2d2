// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Image makes an OCI image of nothing but the multus binary: one archive with
// an index of several architectures, from which containerd and podman import
// that of their machine. Docker, whose own format knows no architectures, gets
// the first one from the same archive.
//
// It does not push the image: registries have their own tools for that.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	name := flag.String("name", "", "the image's `NAME:TAG`")
	version := flag.String("version", "unknown", "the version of multus")
	license := flag.String("license", "", "the licence `FILE`")
	out := flag.String("out", "", "the archive to write")
	flag.Parse()
	if err := build(*name, *version, *license, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// build makes the archive of binaries, each given as ARCH=FILE.
func build(name, version, license, out string, binaries []string) error {
	licenseText, err := os.ReadFile(license)
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var first v1.Image
	for _, arg := range binaries {
		arch, file, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCH=FILE", arg)
		}
		binary, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		image, err := imageOf(arch, version, binary, licenseText)
		if err != nil {
			return fmt.Errorf("image for %s: %w", arch, err)
		}
		if first == nil {
			first = image
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	if first == nil {
		return errors.New("there is no ARCH=FILE")
	}
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = root.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          name,
		"org.opencontainers.image.ref.name": name[strings.LastIndexByte(name, ':')+1:],
	}))
	if err != nil {
		return err
	}
	if err := writeDockerManifest(dir, name, first); err != nil {
		return err
	}
	return archive(dir, out)
}

// writeDockerManifest adds the file that "docker load" reads. Programs that know
// OCI layouts ignore it.
func writeDockerManifest(dir, name string, image v1.Image) error {
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	blob := func(hash v1.Hash) string { return "blobs/" + hash.Algorithm + "/" + hash.Hex }
	entry := tarball.Descriptor{Config: blob(manifest.Config.Digest), RepoTags: []string{name}}
	for _, layer := range manifest.Layers {
		entry.Layers = append(entry.Layers, blob(layer.Digest))
	}
	text, err := json.Marshal(tarball.Manifest{entry})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o600)
}

func imageOf(arch, version string, binary, license []byte) (v1.Image, error) {
	layer, err := layerOf(map[string][]byte{"multus": binary, "LICENSE": license})
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, static.NewLayer(layer, types.OCIUncompressedLayer))
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Entrypoint = []string{"/multus"}
	config.Config.Cmd = []string{"help"}
	config.Config.Labels = map[string]string{"org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0"}
	return mutate.ConfigFile(image, config)
}

// layerOf makes a layer of files that anybody may read and run, in a fixed
// order and without times, so that the same files give the same image.
func layerOf(files map[string][]byte) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range []string{"LICENSE", "multus"} {
		header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), w.Close()
}

// archive packs a directory, in the order of the names and without times.
func archive(dir, out string) error {
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	w := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return add(w, path, name, entry.IsDir())
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return file.Close()
}

func add(w *tar.Writer, path, name string, isDir bool) error {
	if isDir {
		return w.WriteHeader(&tar.Header{Name: name + "/", Mode: 0o755, Typeflag: tar.TypeDir, ModTime: time.Unix(0, 0)})
	}
	text, err := os.Open(path)
	if err != nil {
		return err
	}
	defer text.Close()
	info, err := text.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, text)
	return err
}
