package collector

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"huawei_iot_batch_exporter/collector/northbound"
)

const (
	retries      = 2
	retryBackoff = 500 * time.Millisecond // doubles, plus up to half of itself by chance
)

// retrier repeats calls where that can help. It does not where the platform was
// out of reach before: then the next scrape is the repeat.
type retrier struct {
	client *northbound.Client
	app    *application
}

func (r *retrier) TaskDetails(ctx context.Context, q northbound.TaskDetailsQuery) (*northbound.TaskDetails, error) {
	// A sign-in serves every task, whichever comes first.
	if err := r.client.SignIn(configuredLane.context(r.app.ctx)); err != nil {
		return nil, err
	}
	answer, err := r.client.TaskDetails(ctx, q)
	for n := range retries {
		e, ok := asError(err)
		if !ok || !e.Temporary() || errors.Is(err, northbound.ErrSignInPaused) || !r.app.worthRetrying() {
			return answer, err
		}
		backoff := retryBackoff << n
		select {
		case <-time.After(backoff + rand.N(backoff/2)): //nolint:gosec // chance, not secrecy
		case <-ctx.Done():
			return answer, err
		}
		answer, err = r.client.TaskDetails(ctx, q)
	}
	return answer, err
}

// Task is not repeated: the rows can do without it.
func (r *retrier) Task(ctx context.Context, q northbound.TaskQuery) (*northbound.Task, error) {
	return r.client.Task(ctx, q)
}

// worthRetrying tells whether the platform was reachable at the last scrape.
func (a *application) worthRetrying() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.health.reachable || a.health.answered > 0
}
