// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package cniargs

import "testing"

func TestPodOf(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", ""},
		{"IgnoreUnknown=1", ""},
		{"K8S_POD_NAMESPACE=default", ""},
		{"K8S_POD_NAME=web-0", "web-0"},
		{"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1", "default/web-0"},
		{"K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=default", "default/web-0"},
		{"K8S_POD_NAME=a=b;;=;K8S_POD_NAMESPACE", "a=b"},
	} {
		if got := PodOf(test.args).String(); got != test.want {
			t.Errorf("PodOf(%q) = %q, want %q", test.args, got, test.want)
		}
	}
}
