package collector

import (
	"context"
	"time"

	"huawei_iot_batch_exporter/collector/allowance"
	"huawei_iot_batch_exporter/config"
)

const (
	// maxProbed is how many tasks that are not configured an application knows.
	maxProbed = 500
	// probeMemory is how long it knows one that nobody probes any more.
	probeMemory = time.Hour
)

// probe has one task read and returns it.
//
// A task that is configured as well is read with the right of one, but only
// while the allowance has calls to spare; otherwise the scrapes keep it fresh.
func (a *application) probe(ctx context.Context, tc config.Task) watch {
	now := time.Now()
	a.mu.Lock()
	t := a.task(tc)
	w := watch{task: t, name: tc.Name}
	for _, known := range a.watches {
		if known.task == t && (tc.Name == "" || tc.Name == known.name) {
			w = known
			break
		}
	}
	if w.name == "" {
		w.name = tc.TaskID
	}
	lane := probeLane
	if t.configured {
		lane = configuredLane
	} else {
		t.lastProbe = now
		a.forget(now)
	}
	a.mu.Unlock()

	known := !t.state.Load().AttemptedAt.IsZero()
	if next := a.allowance.NextAt(allowance.Probe); lane == configuredLane && known && next.After(time.Now()) {
		return w
	}
	a.await(ctx, lane, []*task{t}, now)
	a.report()
	return w
}

// forget drops tasks that were only probed, long ago or too many of them.
func (a *application) forget(now time.Time) {
	for {
		probed := 0
		var oldest *task
		for _, t := range a.tasks {
			if t.configured {
				continue
			}
			probed++
			if t.phase == idle && (oldest == nil || t.lastProbe.Before(oldest.lastProbe)) {
				oldest = t
			}
		}
		if oldest == nil || probed <= maxProbed && now.Sub(oldest.lastProbe) < probeMemory {
			return
		}
		delete(a.tasks, oldest.identity)
	}
}
