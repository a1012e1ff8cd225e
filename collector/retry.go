package collector

import (
	"context"
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
	return retry(ctx, r.app, func() (*northbound.TaskDetails, error) { return r.client.TaskDetails(ctx, q) })
}

func (r *retrier) Task(ctx context.Context, q northbound.TaskQuery) (*northbound.Task, error) {
	return retry(ctx, r.app, func() (*northbound.Task, error) { return r.client.Task(ctx, q) })
}

func retry[T any](ctx context.Context, app *application, call func() (T, error)) (T, error) {
	answer, err := call()
	for n := range retries {
		e, ok := asError(err)
		if !ok || !e.Temporary() || !app.worthRetrying() {
			return answer, err
		}
		backoff := retryBackoff << n
		select {
		case <-time.After(backoff + rand.N(backoff/2)): //nolint:gosec // chance, not secrecy
		case <-ctx.Done():
			return answer, err
		}
		answer, err = call()
	}
	return answer, err
}

// worthRetrying tells whether the platform was reachable at the last scrape.
func (a *application) worthRetrying() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.health.reachable || a.health.answered > 0
}
