package census

import (
	"errors"
	"sync"
	"sync/atomic"

	"huawei_iot_batch_exporter/collector/northbound"
)

// Traits are what was learned of a platform where the documents contradict each
// other. The zero value knows nothing. It may be shared by many censuses at once.
type Traits struct {
	refusesWaitResult atomic.Bool // as a filter

	mu       sync.Mutex
	accepted int // largest page size that was answered
	refused  int // smallest page size that was refused; 0: none
}

// pageSize is the size to ask for where wanted is configured.
func (t *Traits) pageSize(wanted int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused > 0 && wanted >= t.refused {
		return t.accepted
	}
	return wanted
}

// accepts tells whether a page of this size was answered before.
func (t *Traits) accepts(size int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return size <= t.accepted
}

func (t *Traits) accept(size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted = max(t.accepted, size)
}

// refuse notes that size was refused where smaller was accepted.
func (t *Traits) refuse(size, smaller int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted = max(t.accepted, smaller)
	if t.refused == 0 || size < t.refused {
		t.refused = size
	}
}

// unanswered tells whether the platform could not tell of the task as a whole,
// which the rows can do without. If it cannot be reached at all, they will show.
func unanswered(err error) bool {
	var e *northbound.Error
	return errors.As(err, &e) && e.Operation == northbound.OperationTask && e.Kind != northbound.KindCanceled &&
		!errors.Is(err, northbound.ErrThrottled) && !errors.Is(err, northbound.ErrTokenInvalid)
}
