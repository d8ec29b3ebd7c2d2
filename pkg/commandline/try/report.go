// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package try

import "encoding/json"

// Report is what a try has found.
type Report struct {
	Network    string      `json:"network"`
	Container  string      `json:"containerID"`
	Netns      string      `json:"netns"`
	Interfaces []Interface `json:"interfaces"`
	// DefaultRoutes are those in the pod, as ip-route(8) writes them.
	DefaultRoutes []string `json:"defaultRoutes"`
	// Result is what the runtime gets, nil after an ADD that failed.
	Result json.RawMessage `json:"result,omitempty"`

	// How long the verbs took, 0 for those that were not run.
	AddMS   float64 `json:"addMilliseconds"`
	CheckMS float64 `json:"checkMilliseconds"`
	DelMS   float64 `json:"delMilliseconds"`

	Problems []string `json:"problems"` // errors of the verbs
	// Left is what is still there after the DEL and should not be.
	Left []string `json:"left"`
	// New are links that the node did not have before: plugins leave bridges in
	// place by design, and another pod may have been attached meanwhile.
	New []string `json:"new,omitempty"`
	// Gone are links that the node had before: a DEL should have given them
	// back, or they belonged to another pod that has ended.
	Gone    []string `json:"gone,omitempty"`
	Removed []string `json:"removed,omitempty"` // trials that were killed before
	Kept    bool     `json:"kept"`
}

// Interface is what one delegate has made.
type Interface struct {
	Delegate     int       `json:"delegate"` // its index in the conf
	Name         string    `json:"name"`
	Network      string    `json:"network"`
	Plugins      []string  `json:"plugins"`
	Primary      bool      `json:"primary"`
	Missing      bool      `json:"missing,omitempty"` // there is no interface of that name
	MTU          int       `json:"mtu,omitempty"`
	MAC          string    `json:"mac,omitempty"`
	Addresses    []string  `json:"addresses"`
	Gateways     []Gateway `json:"gateways"`
	Milliseconds float64   `json:"milliseconds"` // of the ADD
}

// Gateway is a gateway that the result of a delegate names.
type Gateway struct {
	Address string `json:"address"`
	State   Answer `json:"state"`
}

// Answer is whether a gateway is there.
type Answer string

// The answers.
const (
	Answers Answer = "answers"   // to ARP, or to neighbor solicitation
	Silent  Answer = "silent"    // it did not answer
	Unasked Answer = "not asked" // the interface has no such protocol, or it was not wanted
)

// OK reports whether nothing is wrong: everything succeeded, every gateway that
// was asked answers, and nothing is left.
func (r *Report) OK() bool {
	for _, i := range r.Interfaces {
		for _, g := range i.Gateways {
			if g.State == Silent {
				return false
			}
		}
	}
	return len(r.Problems) == 0 && len(r.Left) == 0
}
