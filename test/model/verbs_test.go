// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"maps"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
)

// The codes of multus's own errors.
const (
	ownError   = int(types.ErrInternal)
	badEnv     = int(types.ErrInvalidEnvironmentVariables)
	otherNetns = int(types.ErrInvalidNetNS)
)

// add is ADD, clause 3 of doc/behaviour.md.
func (w *model) add(k key) int {
	pod, planned := w.pods[k.container], w.planned(k)
	if pod == nil {
		return badEnv
	}
	return w.locked(k, func() int {
		old := w.records[k]
		if old != nil && old.pod == pod {
			w.says = "already"
			return ownError
		}
		for _, name := range names(planned) {
			if pod.links[name] != nil {
				w.says = "already"
				return ownError
			}
		}
		if old != nil { // of a pod that is gone
			if code := w.undo(k, old, old.delegates, false); code != 0 {
				return code
			}
		}
		r := &record{pod: pod, delegates: planned}
		w.records[k] = w.copyOf(r)
		code, started := w.attachAll(k, r)
		if code == 0 {
			r.complete = true
			pod.see(r.delegates)
			w.records[k] = r
		} else if w.rollback(k, r, started) != 0 {
			w.records[k] = r
		}
		return code
	})
}

// attachAll runs the delegates. Each meets a pod without the default routes of
// the others, clause 4.
func (w *model) attachAll(k key, r *record) (code, started int) {
	of := func(i int) map[string]route { return r.pod.links[r.delegates[i].ifname].defaults }
	added := make([]map[string]route, len(r.delegates))
	for i := range r.delegates {
		a := &r.delegates[i]
		for other := range i {
			clear(of(other))
		}
		if code := w.addOne(k, r, a); code != 0 {
			return code, i + 1
		}
		if a.primary && !a.result {
			return ownError, i + 1
		}
		added[i] = maps.Clone(of(i))
	}
	r.defaults = map[string]string{}
	for _, family := range families {
		owner := -1 // the primary, or the first secondary that brings one
		for i, a := range r.delegates {
			delete(of(i), family)
			if added[i][family] != (route{}) && (a.primary || owner < 0) {
				owner = i
			}
		}
		if owner >= 0 {
			of(owner)[family] = added[owner][family]
			r.defaults[family] = r.delegates[owner].ifname
		}
	}
	return 0, len(r.delegates)
}

// addOne is the ADD of one delegate.
func (w *model) addOne(k key, r *record, a *attached) int {
	code := w.call(k, "ADD", a.kind, *a, true, false, !a.list, func() int { return r.pod.attach(k, *a) })
	if code != 0 {
		return code
	}
	a.result = true
	if a.list {
		w.keep(k, *a)
		if code := w.call(k, "ADD", "tuning", *a, true, true, true, func() int { return 0 }); code != 0 {
			return code
		}
	}
	a.result = !w.faulty(*a, "empty")
	if a.list {
		w.keep(k, *a)
	}
	return 0
}

// keep puts what a list's plugin has returned into the record.
func (w *model) keep(k key, a attached) {
	c := w.copyOf(w.records[k])
	c.delegates[a.index] = a
	w.records[k] = c
}

// see marks the delegates whose interface is in the pod.
func (p *podState) see(list []attached) {
	for i := range list {
		list[i].seen = list[i].seen || p.links[list[i].ifname] != nil
	}
}

// del is DEL, clause 5. It is told the path of the pod's netns or not.
func (w *model) del(k key, netns bool) int {
	return w.locked(k, func() int {
		r := w.records[k]
		netns = netns && w.pods[k.container] != nil
		if r == nil {
			return w.delAll(k, w.planned(k), nil, netns, false)
		}
		if w.pods[k.container] != r.pod {
			netns = false
		}
		return w.undo(k, r, r.delegates, netns)
	})
}

// rollback is the DEL of what an ADD has started.
func (w *model) rollback(k key, r *record, started int) int {
	list := r.delegates[:started]
	before := slices.Clone(list)
	r.pod.see(before)
	code := w.delAll(k, list, nil, true, true)
	if code == 0 {
		delete(w.records, k)
	} else {
		copy(list, before)
	}
	return code
}

// undo deletes the delegates of a record, and with all of them the record.
func (w *model) undo(k key, r *record, list []attached, netns bool) int {
	var today []attached // tried as well, 5.7
	if !r.complete {
		today = w.planned(k)
	}
	before := slices.Clone(list)
	if netns {
		w.pods[k.container].see(before)
	}
	code := w.delAll(k, list, today, netns, !r.complete)
	if code == 0 {
		delete(w.records, k)
	} else {
		copy(list, before)
	}
	return code
}

// delAll is the DEL of delegates, last first.
func (w *model) delAll(k key, list, today []attached, netns, incomplete bool) (first int) {
	pod := w.pods[k.container]
	var gone []string
	for _, name := range names(list) {
		if netns && pod.links[name] == nil {
			gone = append(gone, name)
		}
	}
	for _, a := range slices.Backward(list) {
		mine := !w.ownedByAnother(k, a.ifname) || w.records[k] != nil && (!incomplete || a.result) // 5.8
		code := w.delTarget(k, a, today, netns && mine, mine && slices.Contains(gone, a.ifname))
		if first == 0 {
			first = code
		}
	}
	return first
}

// delTarget DELs a delegate. If that fails, it tries once more without a netns
// where the interface was there once and is gone, 5.6, and then what the conf of
// today has in its place, 5.7.
func (w *model) delTarget(k key, a attached, today []attached, netns, gone bool) int {
	code := w.delOne(k, a, netns)
	at := slices.IndexFunc(today, func(t attached) bool { return t.ifname == a.ifname })
	if code != 0 && at >= 0 && today[at].text != a.text {
		now := today[at]
		if now.result = a.result; w.delOne(k, now, netns) == 0 {
			return 0
		}
	}
	incomplete := today != nil
	unknown := (incomplete || w.records[k] == nil) && !a.result
	if code != 0 && gone && (a.seen || a.result || unknown) && w.delOne(k, a, false) == 0 {
		return 0
	}
	if incomplete && at < 0 {
		return 0
	}
	return code
}

// ownedByAnother reports whether the record of another attachment has an interface
// of that name in the pod.
func (w *model) ownedByAnother(k key, ifname string) bool {
	for other, r := range w.records {
		if other.container == k.container && other != k && r.pod == w.pods[k.container] && slices.Contains(names(r.delegates), ifname) {
			return true
		}
	}
	return false
}

func (w *model) delOne(k key, a attached, netns bool) int {
	unlink := func() int {
		if pod := w.pods[k.container]; netns && pod != nil {
			delete(pod.links, a.ifname)
		}
		return 0
	}
	if a.list {
		w.call(k, "DEL", "tuning", a, netns, a.result, false, unlink)
	}
	return w.call(k, "DEL", a.kind, a, netns, a.result, false, unlink)
}

// check is CHECK, clause 6.1.
func (w *model) check(k key) int {
	pod := w.pods[k.container]
	if pod == nil {
		return badEnv
	}
	return w.locked(k, func() int {
		r := w.records[k]
		switch {
		case r == nil:
			return ownError
		case r.pod != pod:
			return otherNetns
		}
		nothing := func() int { return 0 }
		for _, a := range r.delegates {
			if code := w.call(k, "CHECK", a.kind, a, true, a.result, false, nothing); code != 0 {
				return code
			}
			if a.list {
				w.call(k, "CHECK", "tuning", a, true, a.result, false, nothing)
			}
		}
		return w.checkDefaults(r, pod)
	})
}

// checkDefaults checks that the default routes are where ADD has left them.
func (w *model) checkDefaults(r *record, pod *podState) int {
	for family, through := range r.defaults {
		has := func(name string) bool { return pod.links[name] != nil && pod.links[name].defaults[family] != route{} }
		if !has(through) {
			return ownError
		}
		for _, a := range r.delegates {
			if !a.primary && a.ifname != through && has(a.ifname) {
				return ownError
			}
		}
	}
	return 0
}

// gc is GC, clause 6.3, told which attachments of the network are valid.
func (w *model) gc(network string, valid []types.GCAttachment) (first int) {
	inUse := map[string][]string{}
	use := func(container string, list []attached) {
		for _, a := range list {
			inUse[a.name] = append(inUse[a.name], container+" "+a.ifname)
		}
	}
	unknown := slices.Clone(valid)
	for _, k := range w.sorted() {
		r, as := w.records[k], types.GCAttachment{ContainerID: k.container, IfName: k.ifname}
		if r == nil { // no more than a lock, which goes, or stays, with the attachment
			if k.network == network && !slices.Contains(valid, as) {
				delete(w.locks, k)
			}
			continue
		}
		if k.network == network && !slices.Contains(valid, as) {
			if code := w.del(k, r.pod == w.pods[k.container]); first == 0 {
				first = code
			}
			continue
		}
		use(k.container, r.delegates)
		if k.network == network {
			unknown = slices.DeleteFunc(unknown, func(v types.GCAttachment) bool { return v == as })
		}
	}
	for _, v := range unknown {
		use(v.ContainerID, w.planned(key{network, v.ContainerID, v.IfName}))
	}
	w.told = map[string][]string{}
	for _, a := range w.planned(key{network: network}) {
		hear := func(kind string) func() int {
			return func() int {
				w.told[kind] = inUse[a.name]
				slices.Sort(w.told[kind])
				return 0
			}
		}
		if code := w.call(key{}, "GC", a.kind, a, false, false, false, hear(a.kind)); first == 0 {
			first = code
		}
		if a.list {
			w.call(key{}, "GC", "tuning", a, false, false, false, hear("tuning"))
		}
	}
	return first
}

// recordLines, links and defaults describe the world as the functions of these
// names in pod_test.go and commands_test.go describe the real one.
func (w *model) recordLines() (lines []string) {
	for k := range w.records {
		lines = append(lines, "-rw------- "+k.String()+".json")
	}
	for k := range w.locks {
		lines = append(lines, "-rw------- "+k.String()+".json.lock")
	}
	slices.Sort(lines)
	return lines
}

func (p *podState) linkLines() (lines []string) {
	for name, l := range p.links {
		line := name
		for _, addr := range l.addrs {
			line += " " + addr
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func (p *podState) defaultLines() (lines []string) {
	for name, l := range p.links {
		for _, r := range l.defaults {
			lines = append(lines, fmt.Sprintf("via %s dev %s metric %d", r.gateway, name, r.metric))
		}
	}
	slices.Sort(lines)
	return lines
}
