// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const name = "registry.example/multus:v1"

// The archive is an OCI layout with one index of all architectures, and a docker
// archive of the first one. The same binaries make the same bytes.
func TestBuild(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "LICENSE"), "license")
	write(t, filepath.Join(dir, "a"), "binary of amd64")
	write(t, filepath.Join(dir, "b"), "binary of arm64")
	archives := make([][]byte, 2)
	for i := range archives {
		out := filepath.Join(dir, "image.tar")
		binaries := []string{"amd64=" + filepath.Join(dir, "a"), "arm64=" + filepath.Join(dir, "b")}
		if err := build(name, "v1", filepath.Join(dir, "LICENSE"), out, binaries); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the second archive differs from the first")
	}

	root, err := layout.ImageIndexFromPath(unpacked(t, archives[0]))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := root.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("got %v, %v, want one index", manifest, err)
	}
	if got := manifest.Manifests[0].Annotations["io.containerd.image.name"]; got != name {
		t.Errorf("got the name %q, want %q", got, name)
	}
	index, err := root.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err = index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("got %v, %v, want two images", manifest, err)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		if got := manifest.Manifests[i].Platform.String(); got != "linux/"+arch {
			t.Errorf("got the platform %q, want linux/%s", got, arch)
		}
		image, err := index.Image(manifest.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, image, arch)
	}

	docker, err := tarball.ImageFromPath(filepath.Join(dir, "image.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, docker, "amd64")
}

func TestBuildRefuses(t *testing.T) {
	for _, binaries := range [][]string{nil, {"amd64"}, {"amd64=/nonexistent"}} {
		if err := build(name, "v1", "main.go", filepath.Join(t.TempDir(), "image.tar"), binaries); err == nil {
			t.Errorf("%q: got no error", binaries)
		}
	}
}

// checkImage checks what an image runs, and that it has the binary of its
// architecture.
func checkImage(t *testing.T, image v1.Image, arch string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != arch || len(config.Config.Entrypoint) != 1 || config.Config.Entrypoint[0] != "/multus" {
		t.Errorf("%s: got %s, which runs %q", arch, config.Architecture, config.Config.Entrypoint)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%s: got %d layers, %v, want 1", arch, len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	text, err := io.ReadAll(content)
	if err != nil || !bytes.Contains(text, []byte("binary of "+arch)) {
		t.Errorf("%s: the layer has no such binary, %v", arch, err)
	}
}

// unpacked returns the directory into which it unpacks an archive.
func unpacked(t *testing.T, archive []byte) string {
	t.Helper()
	dir := t.TempDir()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, header.Name)
		if header.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, string(text))
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
