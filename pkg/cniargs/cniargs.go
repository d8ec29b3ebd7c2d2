// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package cniargs reads CNI_ARGS, the KEY=VALUE;KEY=VALUE of the CNI spec's
// section 2, "Parameters".
//
// It looks only for the keys that it knows. It does not check whether CNI_ARGS
// is well formed; the plugins do.
package cniargs

import "strings"

// Pod is the name of a Kubernetes pod. `multus list --json` shows it in this
// form.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// PodOf returns the pod that a Kubernetes runtime names in CNI_ARGS, or nil if
// there is none.
func PodOf(args string) *Pod {
	var p Pod
	for _, pair := range strings.Split(args, ";") {
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "K8S_POD_NAMESPACE":
			p.Namespace = value
		case "K8S_POD_NAME":
			p.Name = value
		}
	}
	if p.Name == "" {
		return nil
	}
	return &p
}

// String returns namespace and name, as in "default/web-0"; only the name if
// there is no namespace; and "" for a nil Pod.
func (p *Pod) String() string {
	switch {
	case p == nil:
		return ""
	case p.Namespace == "":
		return p.Name
	}
	return p.Namespace + "/" + p.Name
}
