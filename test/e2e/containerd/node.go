// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package containerd drives a real containerd over CRI, as a kubelet does, to see what multus does there. It is for
// this directory's tests only: it knows one image, one container in a pod, and no kubelet's retries.
package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	socket  = "/run/containerd/containerd.sock"
	confDir = "/etc/cni/net.d"
	podLogs = "/run/pods"
)

// A node is one containerd and a client on its socket.
type node struct {
	bin    string // the directory of its binaries
	config string
	log    string
	cgroup string // the parent of all cgroups of its pods

	daemon  *exec.Cmd
	conn    *grpc.ClientConn
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
}

// start starts containerd and returns when its CRI answers.
func (n *node) start(ctx context.Context) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	n.daemon = exec.Command(filepath.Join(n.bin, "containerd"), "--config", n.config)
	n.daemon.Env = append(os.Environ(), "PATH="+n.bin+":/usr/sbin:/usr/bin:/sbin:/bin")
	n.daemon.Stdout, n.daemon.Stderr = log, log
	if err := n.daemon.Start(); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	n.conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	n.runtime, n.images = cri.NewRuntimeServiceClient(n.conn), cri.NewImageServiceClient(n.conn)
	return await(ctx, "CRI to answer", func() error {
		_, err := n.runtime.Version(ctx, &cri.VersionRequest{})
		return err
	})
}

// kill ends containerd as a crash does. What it had started goes on.
func (n *node) kill() error {
	if err := n.daemon.Process.Kill(); err != nil {
		return err
	}
	err := n.daemon.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	// Not before: containerd would see the calls cancelled and kill the plugins that run for them.
	n.conn.Close()
	return err
}

// version is containerd's own, from its CRI.
func (n *node) version(ctx context.Context) (string, error) {
	resp, err := n.runtime.Version(ctx, &cri.VersionRequest{})
	return resp.GetRuntimeVersion(), err
}

// load imports an image archive and returns when CRI knows the image.
func (n *node) load(ctx context.Context, archive, image string) error {
	ctr := exec.CommandContext(ctx, filepath.Join(n.bin, "ctr"), "-n", "k8s.io", "images", "import", archive)
	if out, err := ctr.CombinedOutput(); err != nil {
		return fmt.Errorf("import %s: %w: %s", archive, err, out)
	}
	return await(ctx, "image "+image, func() error {
		resp, err := n.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
		if err == nil && resp.Image == nil {
			err = errors.New("CRI does not know it")
		}
		return err
	})
}

// configure makes text the node's only CNI conf and returns when containerd has read it. Its network must have a name
// that no conf had before.
func (n *node) configure(ctx context.Context, network, text string) error {
	// containerd reads half-written files, so: write, rename. Within the directory, as 1.6 does not notice what comes from
	// elsewhere, and under a name that it does not read.
	next := filepath.Join(confDir, "next")
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(confDir, "10-multus.conf")); err != nil {
		return err
	}
	return await(ctx, "containerd to read the conf of "+network, func() error {
		resp, err := n.runtime.Status(ctx, &cri.StatusRequest{Verbose: true})
		if err != nil {
			return err
		}
		if !strings.Contains(resp.Info["cniconfig"], network) {
			return fmt.Errorf("it has %s", resp.Info["cniconfig"])
		}
		return nil
	})
}

// network is the NetworkReady condition: what a kubelet makes its node's Ready of.
func (n *node) network(ctx context.Context) (ready bool, why string, err error) {
	resp, err := n.runtime.Status(ctx, &cri.StatusRequest{})
	for _, c := range resp.GetStatus().GetConditions() {
		if c.Type == cri.NetworkReady {
			return c.Status, c.Reason + ": " + c.Message, nil
		}
	}
	return false, "", errors.Join(err, errors.New("status has no NetworkReady"))
}

// A pod is a sandbox with one container.
type pod struct {
	node          *node
	config        *cri.PodSandboxConfig
	id, container string
}

// newPod only describes a pod.
func (n *node) newPod(name string, ports ...*cri.PortMapping) *pod {
	return &pod{node: n, config: &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Uid: "uid-of-" + name, Namespace: "default"},
		LogDirectory: filepath.Join(podLogs, name),
		PortMappings: ports,
		Linux:        &cri.LinuxPodSandboxConfig{CgroupParent: "/" + n.cgroup},
	}}
}

// sandbox runs the sandbox alone: this is where the network is attached.
func (p *pod) sandbox(ctx context.Context) error {
	if err := os.MkdirAll(p.config.LogDirectory, 0o755); err != nil {
		return err
	}
	resp, err := p.node.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config})
	p.id = resp.GetPodSandboxId()
	return err
}

// run runs the sandbox and a container with the command.
func (p *pod) run(ctx context.Context, command ...string) error {
	if err := p.sandbox(ctx); err != nil {
		return fmt.Errorf("run sandbox of %s: %w", p.config.Metadata.Name, err)
	}
	resp, err := p.node.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId:  p.id,
		SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "main"},
			Image:    &cri.ImageSpec{Image: image},
			Command:  command,
			LogPath:  "main.log",
			Linux:    &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		return fmt.Errorf("create container of %s: %w", p.config.Metadata.Name, err)
	}
	p.container = resp.ContainerId
	_, err = p.node.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: p.container})
	return err
}

// exec runs a command in the container, as kubectl exec does, and returns its output.
func (p *pod) exec(ctx context.Context, command ...string) (string, error) {
	resp, err := p.node.runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: p.container, Cmd: command, Timeout: 30})
	if err != nil {
		return "", fmt.Errorf("exec %q: %w", command, err)
	}
	if resp.ExitCode != 0 {
		return "", fmt.Errorf("exec %q: exit code %d: %s", command, resp.ExitCode, bytes.Join([][]byte{resp.Stdout, resp.Stderr}, nil))
	}
	return string(resp.Stdout), nil
}

// address is the one that the node tells the cluster.
func (p *pod) address(ctx context.Context) (string, error) {
	resp, err := p.node.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	return resp.GetStatus().GetNetwork().GetIp(), err
}

func (p *pod) stop(ctx context.Context) error {
	_, err := p.node.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id})
	return err
}

// remove stops the pod, as kubelet always does again, and removes it.
func (p *pod) remove(ctx context.Context) error {
	if err := p.stop(ctx); err != nil {
		return fmt.Errorf("stop %s: %w", p.config.Metadata.Name, err)
	}
	_, err := p.node.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
	return err
}

// pods are the ids of all sandboxes that containerd knows.
func (n *node) pods(ctx context.Context) ([]string, error) {
	resp, err := n.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	var ids []string
	for _, sandbox := range resp.GetItems() {
		ids = append(ids, sandbox.Id)
	}
	return ids, err
}

// await calls ok until it returns nil, a minute at most.
func await(ctx context.Context, what string, ok func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited too long for %s: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
