// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

// image is the one image of all sandboxes and containers: no registry is asked for any.
const image = "localhost/busybox:e2e"

// greeting is what the image's /www/index.html says.
const greeting = "hello from the pod\n"

// writeImage writes the image, a static busybox under the names of its applets, as an archive that "ctr images
// import" reads (the format of "docker save").
func writeImage(archive, busybox string, applets ...string) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	files := []tar.Header{{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))}}
	contents := [][]byte{program}
	for _, applet := range applets {
		files = append(files, tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"})
		contents = append(contents, nil)
	}
	files = append(files, tar.Header{Name: "www/index.html", Mode: 0o644, Size: int64(len(greeting))})
	layer, err := pack(files, append(contents, []byte(greeting)))
	if err != nil {
		return err
	}

	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Cmd": []string{"sleep", "86400"}, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": "config.json", "RepoTags": []string{image}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return err
	}
	whole, err := pack([]tar.Header{
		{Name: "layer.tar", Mode: 0o644, Size: int64(len(layer))},
		{Name: "config.json", Mode: 0o644, Size: int64(len(config))},
		{Name: "manifest.json", Mode: 0o644, Size: int64(len(manifest))},
	}, [][]byte{layer, config, manifest})
	if err != nil {
		return err
	}
	return os.WriteFile(archive, whole, 0o644)
}

func pack(files []tar.Header, contents [][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range files {
		if err := w.WriteHeader(&files[i]); err != nil {
			return nil, err
		}
		if _, err := w.Write(contents[i]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
