package census

import "huawei_iot_batch_exporter/collector/northbound"

// witness are the totals that the platform keeps of a task. They never become a
// number; but the final statuses only grow, so totals read before a count can't
// be above it, and totals read after it can't be below. Once both held, totals
// that did not move show that the rows did not either. Once one was broken, they
// count otherwise than the rows do, or late, and are not asked again.
type witness struct {
	statement *northbound.Task // read before the last count that worked
	recall    *northbound.Task // read before the count under way
	broken    bool
	silent    int // counts to do without, because the platform could not answer
}

// call takes the totals read before a count.
func (w *witness) call(t *northbound.Task) { w.recall = t }

// silence notes that the platform could not answer.
func (w *witness) silence() { w.silent = auditEvery }

// wanted tells whether the totals are to be read for the count under way.
func (w *witness) wanted() bool {
	if w.silent > 0 {
		w.silent--
		return false
	}
	return w.recall == nil && !w.broken
}

// swear pairs the totals with the count that worked; dismiss drops them with
// the one that failed.
func (w *witness) swear()   { w.statement, w.recall = w.recall, nil }
func (w *witness) dismiss() { w.recall = nil }

// complete tells whether the task is said to have come to its end.
func (w *witness) complete() bool {
	t := w.recall
	return t != nil && t.CompleteCount+t.ExpiredCount >= t.TotalCount
}

// vouches tells whether the totals can be trusted to tell what moved since the
// last count: because that lies between the totals before and after it, or
// because it is what they say.
func (w *witness) vouches(r reading) bool {
	before, after := w.statement, w.recall
	if after == nil {
		return false
	}
	if before == nil {
		before = &northbound.Task{TotalCount: r.total}
	}
	between := func(low, n, high int) bool { return low <= n && n <= high }
	// Expired subtasks count as timed out, or apart: no document says.
	if !between(before.SuccessCount, r.counts[northbound.StatusSuccess], after.SuccessCount) ||
		!between(before.FailCount, r.counts[northbound.StatusFail], after.FailCount) ||
		!between(before.TimeoutCount, r.counts[northbound.StatusTimeout], after.TimeoutCount+after.ExpiredCount) {
		w.broken = true
		return false
	}
	if w.statement == nil && (after.SuccessCount != r.counts[northbound.StatusSuccess] ||
		after.FailCount != r.counts[northbound.StatusFail] ||
		after.TimeoutCount+after.ExpiredCount != r.counts[northbound.StatusTimeout]) {
		return false
	}
	return before.TotalCount == r.total && after.TotalCount == r.total
}

// moved tells whether the number of subtasks in a final status changed since the
// last count.
func (w *witness) moved(status northbound.Status) bool {
	before, after := w.statement, w.recall
	if before == nil {
		return false
	}
	switch status {
	case northbound.StatusSuccess:
		return before.SuccessCount != after.SuccessCount
	case northbound.StatusFail:
		return before.FailCount != after.FailCount
	default:
		return before.TimeoutCount != after.TimeoutCount || before.ExpiredCount != after.ExpiredCount
	}
}
