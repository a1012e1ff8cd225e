package census

import (
	"fmt"
	"maps"
	"slices"

	"huawei_iot_batch_exporter/collector/northbound"
)

// reading is the outcome of one count.
type reading struct {
	total  int
	counts map[northbound.Status]int
	other  int // subtasks in none of the statuses in counts
}

func (r *reading) sum() int {
	n := r.other
	for _, count := range r.counts {
		n += count
	}
	return n
}

func (r *reading) finals() int {
	return r.counts[northbound.StatusSuccess] + r.counts[northbound.StatusFail] + r.counts[northbound.StatusTimeout]
}

func (r *reading) clone() reading {
	return reading{total: r.total, counts: maps.Clone(r.counts), other: r.other}
}

func (r *reading) same(other reading) bool {
	return r.total == other.total && maps.Equal(r.counts, other.counts)
}

// balance makes the statuses add up to the total: what is missing waits for its
// result, and what is too much moved on while it was counted.
func (r *reading) balance() error {
	if r.finals() > r.total {
		return fmt.Errorf("%w: %d of %d subtasks are final", ErrContradiction, r.finals(), r.total)
	}
	excess := r.sum() - r.total
	if excess < 0 {
		r.counts[northbound.StatusWaitResult] -= excess
		return nil
	}
	for _, status := range append([]northbound.Status{northbound.StatusWaitResult, northbound.StatusPending}, r.odd()...) {
		taken := min(r.counts[status], excess)
		r.counts[status] -= taken
		excess -= taken
	}
	r.other -= excess
	return nil
}

// odd are the undocumented statuses of the reading, in the order of their names.
func (r *reading) odd() []northbound.Status {
	var odd []northbound.Status
	for status := range r.counts {
		if !documented(status) {
			odd = append(odd, status)
		}
	}
	slices.Sort(odd)
	return odd
}
